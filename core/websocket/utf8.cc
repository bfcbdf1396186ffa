#include "websocket/utf8.h"

#include <cstddef>
#include <cstring>

namespace penstock::websocket {
namespace {

std::size_t ascii_prefix(const char* text, std::size_t size) noexcept {
    constexpr std::uint64_t kHighBits = 0x8080808080808080;
    std::size_t at = 0;
    for (; size - at >= 2 * sizeof kHighBits; at += 2 * sizeof kHighBits) {
        std::uint64_t words[2];
        std::memcpy(words, text + at, sizeof words);
        if (((words[0] | words[1]) & kHighBits) != 0) break;
    }
    while (at < size && static_cast<std::uint8_t>(text[at]) < 0x80) ++at;
    return at;
}

}  // namespace

// RFC 3629, 4.
bool Utf8Validator::lead(std::uint8_t byte) noexcept {
    low_ = 0x80;
    high_ = 0xBF;
    if (byte < 0xC2) return false;
    if (byte < 0xE0) {
        missing_ = 1;
    } else if (byte < 0xF0) {
        missing_ = 2;
        if (byte == 0xE0) low_ = 0xA0;   // else it were overlong
        if (byte == 0xED) high_ = 0x9F;  // else a surrogate
    } else if (byte < 0xF5) {
        missing_ = 3;
        if (byte == 0xF0) low_ = 0x90;
        if (byte == 0xF4) high_ = 0x8F;
    } else {
        return false;
    }
    return true;
}

bool Utf8Validator::feed(std::string_view piece) noexcept {
    std::size_t at = 0;
    while (at < piece.size()) {
        if (missing_ == 0) {
            at += ascii_prefix(piece.data() + at, piece.size() - at);
            if (at == piece.size()) break;
            if (!lead(static_cast<std::uint8_t>(piece[at++]))) return false;
            continue;
        }
        auto byte = static_cast<std::uint8_t>(piece[at++]);
        if (byte < low_ || byte > high_) return false;
        low_ = 0x80;
        high_ = 0xBF;
        --missing_;
    }
    return true;
}

}  // namespace penstock::websocket
