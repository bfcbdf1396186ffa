// Which fields may stand behind a body: RFC 9110, 6.5.1.
#pragma once

#include <string_view>

#include "http1/field_lines.h"
#include "http1/request.h"

namespace penstock::http1 {

// Those that frame or route the message, where a parser on the way might heed them, are refused:
// false sets `refusal`. Those that may only come before the content, because they say how to
// process it, who sent it or on which conditions, are dropped.
bool accept_trailers(FieldLines& lines, Refusal& refusal) noexcept;

// What a sender may use: none of those.
bool may_be_trailer(std::string_view name) noexcept;

}  // namespace penstock::http1
