// Words that are compared without regard to case.
#pragma once

#include <cstddef>
#include <string_view>

namespace penstock::http1 {

// `lower` has small letters, digits and '-' only; `text` no control characters: these are what
// differs from a digit or '-' in the bit alone that is ignored here.
template <std::size_t kSize>
constexpr bool same_word(std::string_view text, const char (&lower)[kSize]) noexcept {
    if (text.size() != kSize - 1) return false;
    for (std::size_t i = 0; i < kSize - 1; ++i)
        if ((text[i] | 0x20) != lower[i]) return false;
    return true;
}

}  // namespace penstock::http1
