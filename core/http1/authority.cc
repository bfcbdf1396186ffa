#include "http1/authority.h"

#include <algorithm>
#include <cstddef>

#include "http1/byte_class.h"

namespace penstock::http1 {
namespace {

bool is_reg_name(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (is(ByteClass::kRegName, text[i])) continue;
        bool is_escape = text[i] == '%' && text.size() - i > 2 &&
                         is(ByteClass::kHex, text[i + 1]) && is(ByteClass::kHex, text[i + 2]);
        if (!is_escape) return false;
        i += 2;
    }
    return true;
}

// IPv6address, by its bytes, or IPvFuture: who is asked for is for others to look up.
bool is_ip_literal(std::string_view text) noexcept {
    if (text.size() > 2 && (text[0] | 0x20) == 'v')
        return std::ranges::all_of(
            text, [](char byte) { return byte == ':' || is(ByteClass::kRegName, byte); });
    return text.size() >= 2 && std::ranges::all_of(text, [](char byte) {
               return byte == ':' || byte == '.' || is(ByteClass::kHex, byte);
           });
}

char lower(char byte) noexcept {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte | 0x20) : byte;
}

}  // namespace

bool is_authority(std::string_view text, Port port) noexcept {
    std::string_view host;
    if (text.starts_with('[')) {
        std::size_t close = text.find(']');
        if (close == std::string_view::npos || !is_ip_literal(text.substr(1, close - 1)))
            return false;
        host = text.substr(0, close + 1);
    } else {
        host = text.substr(0, text.find(':'));
        if (!is_reg_name(host)) return false;
    }
    std::string_view rest = text.substr(host.size());
    if (rest.empty()) return port == Port::kOptional;
    std::string_view digits = rest.substr(1);
    return !host.empty() && rest[0] == ':' && digits.size() <= 5 &&
           !(digits.empty() && port == Port::kRequired) && std::ranges::all_of(digits, is_digit);
}

bool same_authority(std::string_view a, std::string_view b) noexcept {
    return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace penstock::http1
