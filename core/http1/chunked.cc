#include "http1/chunked.h"

#include <algorithm>

#include "http1/byte_class.h"

namespace penstock::http1 {
namespace {

constexpr std::uint8_t kMostDigits = 16;

std::uint64_t hex_value(char byte) noexcept {
    return static_cast<std::uint64_t>(is_digit(byte) ? byte - '0' : (byte | 0x20) - 'a' + 10);
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view& input, const Limits& limits,
                                          std::string_view& data, Refusal& refusal) noexcept {
    auto refuse = [&](const char* reason) {
        refusal = {400, reason};
        return Step::kRefused;
    };
    while (state_ != State::kLast) {
        if (input.empty()) return Step::kNeedMore;
        if (state_ == State::kData) {
            data = input.substr(0, std::min<std::uint64_t>(size_, input.size()));
            input.remove_prefix(data.size());
            size_ -= data.size();
            if (size_ == 0) state_ = State::kDataReturn;
            return Step::kData;
        }
        char byte = input.front();
        input.remove_prefix(1);
        switch (state_) {
            case State::kDataReturn:
                if (byte != '\r') return refuse("a chunk that goes on behind its size");
                state_ = State::kDataLineFeed;
                break;
            case State::kDataLineFeed:
                if (byte != '\n') return refuse("CR without LF");
                state_ = State::kSize;
                size_ = digits_ = 0;
                extension_bytes_ = 0;
                break;
            case State::kSizeLineFeed:
                if (byte != '\n') return refuse("CR without LF");
                if (!begin_chunk(limits, refusal)) return Step::kRefused;
                break;
            default:
                if (!take(byte)) return refuse("a byte that no chunk's first line has there");
                if (state_ != State::kSize && state_ != State::kSizeLineFeed &&
                    ++extension_bytes_ > limits.chunk_extension_bytes)
                    return refuse("a chunk's extension is too long");
        }
    }
    return Step::kLast;
}

// 1*HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] ) CR
bool ChunkedDecoder::take(char byte) noexcept {
    switch (state_) {
        case State::kSize:
            if (!is(ByteClass::kHex, byte)) return digits_ != 0 && take_delimiter(byte);
            size_ = size_ << 4U | hex_value(byte);
            return ++digits_ <= kMostDigits;
        case State::kNameStart: state_ = State::kName; return is(ByteClass::kToken, byte);
        case State::kName:
            if (byte != '=') return is(ByteClass::kToken, byte) || take_delimiter(byte);
            state_ = State::kValueStart;
            return true;
        case State::kValueStart:
            state_ = byte == '"' ? State::kQuoted : State::kToken;
            return byte == '"' || is(ByteClass::kToken, byte);
        case State::kToken: return is(ByteClass::kToken, byte) || take_delimiter(byte);
        case State::kQuoted:
            if (byte == '"') state_ = State::kAfterQuoted;
            if (byte == '\\') state_ = State::kEscaped;
            return is(ByteClass::kValue, byte);
        case State::kEscaped: state_ = State::kQuoted; return is(ByteClass::kValue, byte);
        default: return take_delimiter(byte);
    }
}

bool ChunkedDecoder::take_delimiter(char byte) noexcept {
    state_ = byte == '\r' ? State::kSizeLineFeed : State::kNameStart;
    return byte == '\r' || byte == ';';
}

bool ChunkedDecoder::begin_chunk(const Limits& limits, Refusal& refusal) noexcept {
    if (size_ == 0) {
        state_ = State::kLast;
        return true;
    }
    if (size_ > limits.body_bytes - std::min(received_, limits.body_bytes)) {
        refusal = {413, "the body is too long"};
        return false;
    }
    // Each costs more than its bytes: a line to read, a message for the application.
    if (++chunks_ > limits.free_chunks &&
        chunks_ - limits.free_chunks > received_ / std::max<std::size_t>(limits.bytes_a_chunk, 1)) {
        refusal = {400, "too many tiny chunks"};
        return false;
    }
    received_ += size_;
    state_ = State::kData;
    return true;
}

}  // namespace penstock::http1
