#include "websocket/base64.h"

#include <algorithm>
#include <cstddef>

namespace penstock::websocket {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64(std::span<const std::uint8_t> bytes) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i) group = group << 8U | (i < count ? bytes[at + i] : 0U);
        for (std::size_t i = 0; i < 4; ++i)
            out += i <= count ? kAlphabet[group >> (18 - 6 * i) & 63U] : '=';
    }
    return out;
}

bool is_base64_of_16(std::string_view text) noexcept {
    return text.size() == 24 && text.ends_with("==") &&
           text.find_first_not_of(kAlphabet) == text.size() - 2;
}

}  // namespace penstock::websocket
