// Messages out of a client's bytes, without I/O: feed() lends bytes, next() tells what they say,
// one event at a time, until they are used up. RFC 6455, strictly, and RFC 7692.
//
// Who can't take another message stops calling next(), and what came too much is kept by hold().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "websocket/deflate.h"
#include "websocket/frame.h"
#include "websocket/limits.h"
#include "websocket/utf8.h"

namespace penstock::websocket {

enum class Event : std::uint8_t {
    kNeedMore,  // all that was fed is used
    kText,      // message() is there, whole, and UTF-8
    kBinary,
    kPing,  // message() is its payload, as with kPong
    kPong,
    kClose,   // code() is kNoStatus where it has none, message() its reason; nothing follows
    kFailed,  // the client is to be closed with code() for what reason() says; nothing follows
};

class MessageReader {
public:
    // Both outlive it; they may belong to many.
    MessageReader(const Limits& limits, DeflatePool& pool, bool may_be_deflated) noexcept
        : limits_(limits), pool_(pool), may_be_deflated_(may_be_deflated) {}
    MessageReader(const MessageReader&) = delete;
    MessageReader& operator=(const MessageReader&) = delete;
    ~MessageReader() { pool_.give_back(std::move(inflater_)); }

    // The memory is the caller's again once next() has returned kNeedMore, kClose or kFailed, or
    // hold() has been called.
    void feed(std::span<const std::byte> bytes);  // throws std::bad_alloc
    Event next();                                 // throws std::bad_alloc
    void hold();                                  // throws std::bad_alloc
    bool has_unused() const noexcept { return !input_.empty(); }
    // A message has begun and not ended, in whatever frames.
    bool is_amid_message() const noexcept { return opcode_ != Opcode::kContinuation; }
    // Bytes of its payload that have come, as they came.
    std::uint64_t bytes_of_message() const noexcept {
        bool is_amid_frame = state_ == State::kPayload && !is_control(head_.opcode);
        return is_amid_message() ? packed_ - (is_amid_frame ? missing_ : 0) : 0;
    }

    // Until the following next(), feed() or hold().
    std::string_view message() const noexcept { return told_; }
    std::uint16_t code() const noexcept { return code_; }
    const char* reason() const noexcept { return reason_; }

private:
    enum class State : std::uint8_t { kHead, kPayload, kOver, kFailed };

    bool begin_frame();
    Event end_frame();
    Event end_message();
    Event end_close();
    Event fail(std::uint16_t code, const char* reason) noexcept;
    bool take_payload();
    bool take_piece(std::string_view piece);
    std::uint64_t most_inflated(const char*& reason) const noexcept;
    bool inflate(std::string_view piece);
    void forget_told() noexcept;

    const Limits& limits_;
    DeflatePool& pool_;
    std::string_view input_;  // what is not used: lent, or the end of kept_
    std::string kept_;        // empty while the input is lent
    std::string text_;        // of the message under way, or of the one told
    std::string_view told_;
    std::unique_ptr<Inflater> inflater_;  // where the message under way is deflated
    FrameHeadParser head_parser_;
    FrameHead head_;
    std::uint64_t missing_ = 0;  // of the frame's payload
    std::uint64_t packed_ = 0;   // bytes of the message as they came, with those announced
    std::uint64_t fragments_ = 0;
    Utf8Validator utf8_;
    const char* reason_ = "";
    std::uint16_t code_ = 0;
    State state_ = State::kHead;
    Opcode opcode_ = Opcode::kContinuation;  // of the message under way; else that
    bool may_be_deflated_;
    bool is_told_ = false;  // text_ is of a message that is over
    std::uint8_t control_size_ = 0;
    std::array<char, kMostOfControl> control_;
};

}  // namespace penstock::websocket
