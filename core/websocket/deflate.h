// Compressed messages, RFC 7692, over zlib, which is known here only.
//
// Streams belong to all connections of a thread: an inflater is lent for as long as a message comes
// in, a deflater never longer than a call. What a connection holds between messages is nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::websocket {

class Inflater {
public:
    Inflater();  // throws std::bad_alloc
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;
    ~Inflater();

    void reset() noexcept;

    enum class Step : std::uint8_t { kNeedInput, kOutput, kRefused };
    // Takes off `input`; kOutput: output() is there, and input is left or there may be more to
    // come.
    Step next(std::string_view& input);  // throws std::bad_alloc
    std::string_view output() const noexcept { return {room_.data(), size_}; }

    static constexpr std::string_view kTail{"\0\0\xff\xff", 4};  // what a sender has cut off

private:
    struct Stream;
    std::unique_ptr<Stream> stream_;
    std::array<char, std::size_t{16} * 1024> room_;
    std::size_t size_ = 0;
    bool may_have_more_ = false;
    bool is_broken_ = false;
};

class Deflater {
public:
    explicit Deflater(int window_bits);  // throws std::bad_alloc
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;
    ~Deflater();

    // A whole message; false where it would not get smaller. Throws std::bad_alloc.
    bool pack(std::string_view message, std::string& out);

private:
    struct Stream;
    std::unique_ptr<Stream> stream_;
};

class DeflatePool {
public:
    std::unique_ptr<Inflater> take();  // throws std::bad_alloc
    void give_back(std::unique_ptr<Inflater> inflater) noexcept;
    std::size_t idle() const noexcept { return count_; }

    // Packs with a window of at most 2^window_bits bytes. The result is there until the next call;
    // empty where it would not be worth it. Throws std::bad_alloc.
    std::string_view pack(std::string_view message, int window_bits);

private:
    static constexpr std::size_t kMostIdle = 4;
    static constexpr int kLeastBits = 9;
    std::array<std::unique_ptr<Inflater>, kMostIdle> idle_;
    std::size_t count_ = 0;
    std::array<std::unique_ptr<Deflater>, 15 - kLeastBits + 1> deflaters_;
    std::string packed_;
};

}  // namespace penstock::websocket
