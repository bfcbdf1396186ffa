// UTF-8, strictly (RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF), of a text
// that comes in pieces: what is wrong is seen at the first byte that no text can go on with.
#pragma once

#include <cstdint>
#include <string_view>

namespace penstock::websocket {

class Utf8Validator {
public:
    bool feed(std::string_view piece) noexcept;  // false: it is none, whatever follows
    bool is_complete() const noexcept { return missing_ == 0; }

private:
    bool lead(std::uint8_t byte) noexcept;

    std::uint8_t missing_ = 0;  // bytes of the character
    std::uint8_t low_ = 0x80;   // what the next one may be
    std::uint8_t high_ = 0xBF;
};

inline bool is_utf8(std::string_view text) noexcept {
    Utf8Validator validator;
    return validator.feed(text) && validator.is_complete();
}

}  // namespace penstock::websocket
