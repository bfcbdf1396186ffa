// Lists in header fields: RFC 9110, 5.6.
#pragma once

#include <cstddef>
#include <string_view>

namespace penstock::websocket {

bool is_token(std::string_view text) noexcept;  // RFC 9110, 5.6.2

inline std::string_view without_blanks(std::string_view text) noexcept {
    auto is_blank = [](char letter) { return letter == ' ' || letter == '\t'; };
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

constexpr char lower_case(char letter) noexcept {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter | 0x20) : letter;
}

// `word` is in lower case.
inline bool is_word(std::string_view text, std::string_view word) noexcept {
    if (text.size() != word.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (lower_case(text[i]) != word[i]) return false;
    return true;
}

// Takes the part before the next `separator`, and the separator, off `list`; not within quotes.
std::string_view take_part(std::string_view& list, char separator) noexcept;

// Calls `member` with each that is not empty of a list, until it says false.
template <class Member>
bool each_of(std::string_view list, Member member) {
    while (!list.empty()) {
        std::string_view part = without_blanks(take_part(list, ','));
        if (!part.empty() && !member(part)) return false;
    }
    return true;
}

}  // namespace penstock::websocket
