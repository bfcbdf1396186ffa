// Bytes that a cipher has made and that have not left: they grow while it works, and go to the
// socket in one piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace penstock::tls {

class Buffer {
public:
    Buffer() noexcept = default;
    Buffer(Buffer&& other) noexcept
        : memory_(std::move(other.memory_)),
          size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        memory_ = std::move(other.memory_);
        size_ = std::exchange(other.size_, 0);
        capacity_ = std::exchange(other.capacity_, 0);
        return *this;
    }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }
    std::size_t capacity() const noexcept { return capacity_; }
    std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size_}; }

    // False where memory is out; what was there stays.
    [[nodiscard]] bool append(std::span<const std::byte> bytes) noexcept {
        if (capacity_ - size_ < bytes.size() && !grow(size_ + bytes.size())) return false;
        if (!bytes.empty()) std::memcpy(memory_.get() + size_, bytes.data(), bytes.size());
        size_ += bytes.size();
        return true;
    }
    void clear() noexcept { size_ = 0; }

private:
    bool grow(std::size_t needed) noexcept {
        std::size_t capacity = std::max({needed, 2 * capacity_, kLeast});
        auto* memory = static_cast<std::byte*>(std::realloc(memory_.get(), capacity));
        if (memory == nullptr) return false;
        (void)memory_.release();  // realloc() has freed or moved it
        memory_.reset(memory);
        capacity_ = capacity;
        return true;
    }

    struct Free {
        void operator()(std::byte* memory) const noexcept { std::free(memory); }
    };
    static constexpr std::size_t kLeast = std::size_t{20} * 1024;  // a record and its overhead

    std::unique_ptr<std::byte, Free> memory_;
    std::size_t size_ = 0, capacity_ = 0;
};

// One buffer serves all connections in turn: an idle one keeps none.
class BufferPool {
public:
    Buffer take() noexcept { return std::move(spare_); }
    void give(Buffer buffer) noexcept {
        if (buffer.capacity() > kMostKept || buffer.capacity() <= spare_.capacity()) return;
        buffer.clear();
        spare_ = std::move(buffer);
    }

private:
    static constexpr std::size_t kMostKept = std::size_t{512} * 1024;
    Buffer spare_;
};

}  // namespace penstock::tls
