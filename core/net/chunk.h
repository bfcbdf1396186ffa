// Bytes that wait to be written, with whoever keeps them alive: a copy of our own, or an object
// of the caller's that is let go by a function of the caller's. That function may run foreign
// code, so a Chunk is only let go when whatever held it is whole again.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

namespace penstock {

class Chunk {
public:
    using Release = void (*)(void* owner) noexcept;

    Chunk() noexcept = default;
    Chunk(std::span<const std::byte> bytes, void* owner, Release release) noexcept
        : bytes_(bytes), owner_(owner), release_(release) {}
    // Nothing where memory is out.
    static std::optional<Chunk> copy(std::span<const std::byte> bytes) noexcept {
        void* memory = std::malloc(bytes.size());
        if (memory == nullptr) return std::nullopt;
        std::memcpy(memory, bytes.data(), bytes.size());
        return Chunk({static_cast<const std::byte*>(memory), bytes.size()}, memory,
                     [](void* owner) noexcept { std::free(owner); });
    }

    Chunk(Chunk&& other) noexcept
        : bytes_(std::exchange(other.bytes_, {})),
          owner_(other.owner_),
          release_(std::exchange(other.release_, nullptr)) {}
    Chunk& operator=(Chunk&& other) noexcept {
        Chunk old(std::move(*this));
        bytes_ = std::exchange(other.bytes_, {});
        owner_ = other.owner_;
        release_ = std::exchange(other.release_, nullptr);
        return *this;
    }
    ~Chunk() {
        if (release_ != nullptr) release_(owner_);
    }

    std::span<const std::byte> bytes() const noexcept { return bytes_; }
    void skip(std::size_t count) noexcept { bytes_ = bytes_.subspan(count); }

private:
    std::span<const std::byte> bytes_;
    void* owner_ = nullptr;
    Release release_ = nullptr;
};

}  // namespace penstock
