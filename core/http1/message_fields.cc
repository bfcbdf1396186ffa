#include "http1/message_fields.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "http1/authority.h"
#include "http1/byte_class.h"
#include "http1/same_word.h"
#include "http1/scanner.h"

namespace penstock::http1 {
namespace {

bool refuse(Refusal& refusal, int status, const char* reason) noexcept {
    refusal = {status, reason};
    return false;
}

bool is_token(std::string_view text) noexcept {
    const char* end = text.data() + text.size();
    return !text.empty() && scanner().token(text.data(), end) == end;
}

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

// Calls `member` with each of a list (RFC 9110, 5.6.1), until it says false.
template <class Member>
bool each_of(std::string_view list, Member member) noexcept {
    for (;;) {
        std::size_t comma = std::min(list.find(','), list.size());
        std::string_view text = trimmed(list.substr(0, comma));
        if (!text.empty() && !member(text)) return false;
        if (comma == list.size()) return true;
        list.remove_prefix(comma + 1);
    }
}

}  // namespace

bool MessageFields::take(const Field& field, Refusal& refusal) noexcept {
    std::string_view name = field.name;
    switch (name.size()) {
        case 4:
            if (!same_word(name, "host")) return true;
            if (host) return refuse(refusal, 400, "more than one Host");
            host = field.value;
            return is_authority(field.value) || refuse(refusal, 400, "a Host that names none");
        case 6:
            if (!same_word(name, "expect")) return true;
            (same_word(field.value, "100-continue") ? expects_continue : expects_other) = true;
            return true;
        case 7:
            if (!same_word(name, "upgrade")) return true;
            if (upgrade) return refuse(refusal, 400, "more than one Upgrade");
            upgrade = field.value;
            return true;
        case 10: return !same_word(name, "connection") || take_connection(field.value, refusal);
        case 14: return !same_word(name, "content-length") || take_length(field.value, refusal);
        case 17: return !same_word(name, "transfer-encoding") || take_coding(field.value, refusal);
        default: return true;
    }
}

// RFC 9110, 8.6, without the list that a careless joiner of repeated fields makes.
bool MessageFields::take_length(std::string_view value, Refusal& refusal) noexcept {
    if (length) return refuse(refusal, 400, "more than one Content-Length");
    if (value.empty() || !std::ranges::all_of(value, is_digit))
        return refuse(refusal, 400, "a Content-Length that is no number");
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t number = 0;
    for (char byte : value) {
        auto digit = static_cast<std::uint64_t>(byte - '0');
        bool is_over = number > (kMost - digit) / 10;
        number = is_over ? kMost : number * 10 + digit;
        if (is_over) break;
    }
    // Whoever reads it behind us may give up on more digits than 64 bits have.
    if (number < kMost && value.size() > 20)
        return refuse(refusal, 400, "a Content-Length of too many zeros");
    length = number;
    return true;
}

// RFC 9112, 6.1: chunked is the last one, and applied once.
bool MessageFields::take_coding(std::string_view value, Refusal& refusal) noexcept {
    constexpr const char* kDisguised = "a Transfer-Encoding that other parsers may read otherwise";
    if (is_chunked) return refuse(refusal, 400, kDisguised);
    if (same_word(value, "chunked")) return is_chunked = true;
    bool has_other = false;
    bool has_chunked = false;
    bool is_list = each_of(value, [&](std::string_view coding) {
        if (has_chunked || !is_token(coding)) return false;
        (same_word(coding, "chunked") ? has_chunked : has_other) = true;
        return true;
    });
    if (!is_list || !has_other) return refuse(refusal, 400, kDisguised);
    return refuse(refusal, 501, "no such Transfer-Encoding");
}

bool MessageFields::take_connection(std::string_view value, Refusal& refusal) noexcept {
    bool are_tokens = each_of(value, [&](std::string_view option) {
        if (same_word(option, "close")) return says_close = true;
        if (same_word(option, "keep-alive")) return says_keep_alive = true;
        if (same_word(option, "upgrade")) return says_upgrade = true;
        return is_token(option);
    });
    return are_tokens || refuse(refusal, 400, "a Connection that is no list of tokens");
}

}  // namespace penstock::http1
