// Which bytes may stand where, as a table: what the scanners' vectors compute is compared with it.
#pragma once

#include <array>
#include <cstdint>

namespace penstock::http1 {

enum class ByteClass : std::uint8_t {
    kToken = 1,  // RFC 9110, 5.6.2
    // Printable ASCII but '#', which begins what never leaves a client (RFC 9110, 4.2.5). RFC 3986
    // allows less, but browsers send '|', '{' and the like as they are.
    kTarget = 2,
    kValue = 4,    // RFC 9110, 5.5: also a tab, and bytes from 0x80 on (obs-text)
    kRegName = 8,  // RFC 3986, 3.2.2: unreserved and sub-delims
    kHex = 16,
};

inline constexpr std::array<std::uint8_t, 256> kByteClasses = [] {
    std::array<std::uint8_t, 256> classes{};
    auto set = [&](unsigned byte, ByteClass is) {
        classes[byte] = static_cast<std::uint8_t>(classes[byte] | static_cast<std::uint8_t>(is));
    };
    auto set_all = [&](const char* text, ByteClass is) {
        for (; *text != 0; ++text) set(static_cast<unsigned char>(*text), is);
    };
    for (unsigned byte = 0; byte < 256; ++byte) {
        bool is_letter = (byte | 0x20U) >= 'a' && (byte | 0x20U) <= 'z';
        bool is_digit = byte >= '0' && byte <= '9';
        if (is_letter || is_digit) {
            set(byte, ByteClass::kToken);
            set(byte, ByteClass::kRegName);
        }
        if (is_digit || (is_letter && (byte | 0x20U) <= 'f')) set(byte, ByteClass::kHex);
        if (byte > 0x20 && byte < 0x7F && byte != '#') set(byte, ByteClass::kTarget);
        if (byte == '\t' || (byte >= 0x20 && byte != 0x7F)) set(byte, ByteClass::kValue);
    }
    set_all("!#$%&'*+-.^_`|~", ByteClass::kToken);
    set_all("-._~!$&'()*+,;=", ByteClass::kRegName);
    return classes;
}();

constexpr bool is(ByteClass wanted, char byte) noexcept {
    return (kByteClasses[static_cast<unsigned char>(byte)] & static_cast<std::uint8_t>(wanted)) !=
           0;
}

constexpr bool is_digit(char byte) noexcept { return byte >= '0' && byte <= '9'; }
constexpr bool is_blank(char byte) noexcept { return byte == ' ' || byte == '\t'; }

}  // namespace penstock::http1
