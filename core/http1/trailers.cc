#include "http1/trailers.h"

#include <algorithm>
#include <string_view>

namespace penstock::http1 {
namespace {

constexpr std::string_view kRefused[] = {"connection", "content-length",    "host",
                                         "trailer",    "transfer-encoding", "upgrade"};

constexpr std::string_view kDropped[] = {"authorization",
                                         "cache-control",
                                         "content-encoding",
                                         "content-range",
                                         "content-type",
                                         "cookie",
                                         "expect",
                                         "forwarded",
                                         "if-match",
                                         "if-modified-since",
                                         "if-none-match",
                                         "if-range",
                                         "if-unmodified-since",
                                         "keep-alive",
                                         "max-forwards",
                                         "pragma",
                                         "proxy-authorization",
                                         "proxy-connection",
                                         "range",
                                         "set-cookie",
                                         "te",
                                         "x-forwarded-for",
                                         "x-forwarded-host",
                                         "x-forwarded-proto"};

// A token's bytes that differ in the bit for case alone are letters, and '^' from '~'.
bool is_one_of(std::string_view name, std::span<const std::string_view> lower) noexcept {
    return std::ranges::any_of(lower, [&](std::string_view each) {
        return std::ranges::equal(name, each, [](char a, char b) { return (a | 0x20) == b; });
    });
}

}  // namespace

bool may_be_trailer(std::string_view name) noexcept {
    return !is_one_of(name, kRefused) && !is_one_of(name, kDropped);
}

bool accept_trailers(FieldLines& lines, Refusal& refusal) noexcept {
    for (const Field& field : lines.fields()) {
        if (!is_one_of(field.name, kRefused)) continue;
        refusal = {400, "a trailer that belongs into the head"};
        return false;
    }
    lines.drop_if([](const Field& field) { return is_one_of(field.name, kDropped); });
    return true;
}

}  // namespace penstock::http1
