#include "websocket/field_list.h"

namespace penstock::websocket {

bool is_token(std::string_view text) noexcept {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    for (char letter : text) {
        char lower = lower_case(letter);
        bool is_one = (lower >= 'a' && lower <= 'z') || (letter >= '0' && letter <= '9') ||
                      kMarks.find(letter) != std::string_view::npos;
        if (!is_one) return false;
    }
    return !text.empty();
}

std::string_view take_part(std::string_view& list, char separator) noexcept {
    bool is_quoted = false;
    std::size_t at = 0;
    for (; at < list.size(); ++at) {
        if (is_quoted && list[at] == '\\')
            ++at;
        else if (list[at] == '"')
            is_quoted = !is_quoted;
        else if (!is_quoted && list[at] == separator)
            break;
    }
    std::string_view part = list.substr(0, at);
    list.remove_prefix(at < list.size() ? at + 1 : list.size());
    return part;
}

}  // namespace penstock::websocket
