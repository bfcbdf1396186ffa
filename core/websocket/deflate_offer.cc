#include "websocket/deflate_offer.h"

#include "websocket/field_list.h"

namespace penstock::websocket {
namespace {

// 8 to 15, without leading zeros; else 0.
int window_bits(std::string_view value) noexcept {
    if (value.size() == 1 && (value[0] == '8' || value[0] == '9')) return value[0] - '0';
    if (value.size() == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5')
        return 10 + value[1] - '0';
    return 0;
}

// One parameter of an offer: whether it is one that we know and can meet.
class Offer {
public:
    bool take(std::string_view parameter) noexcept {
        bool has_value = parameter.find('=') != std::string_view::npos;
        std::string_view name = without_blanks(take_part(parameter, '='));
        std::string_view value = without_blanks(parameter);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
            value = value.substr(1, value.size() - 2);
        if (is_word(name, "server_no_context_takeover")) return first(0) && !has_value;
        if (is_word(name, "client_no_context_takeover")) return first(1) && !has_value;
        // It says that it would accept a smaller window for what it sends. We need none smaller.
        if (is_word(name, "client_max_window_bits"))
            return first(2) && (!has_value || window_bits(value) != 0);
        if (!is_word(name, "server_max_window_bits") || !first(3)) return false;
        terms.server_window_bits = window_bits(value);
        terms.names_server_bits = true;
        return terms.server_window_bits > 8;  // zlib makes no raw stream with a window of 256
    }

    DeflateTerms terms;

private:
    bool first(unsigned which) noexcept {
        bool is_first = (seen_ >> which & 1U) == 0;
        seen_ |= 1U << which;
        return is_first;
    }

    unsigned seen_ = 0;
};

}  // namespace

std::optional<DeflateTerms> agree_on_deflate(std::string_view offers) noexcept {
    std::optional<DeflateTerms> agreed;
    each_of(offers, [&](std::string_view text) {
        if (!is_word(without_blanks(take_part(text, ';')), "permessage-deflate")) return true;
        Offer offer;
        bool can_be = true;
        while (can_be && !text.empty()) can_be = offer.take(without_blanks(take_part(text, ';')));
        if (can_be) agreed = offer.terms;
        return !can_be;
    });
    return agreed;
}

std::string deflate_response(const DeflateTerms& terms) {
    std::string out = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    if (terms.names_server_bits)
        out += "; server_max_window_bits=" + std::to_string(terms.server_window_bits);
    return out;
}

}  // namespace penstock::websocket
