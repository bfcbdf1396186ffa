// Who a request is for: RFC 3986, 3.2, without user information (RFC 9110, 4.2.4).
#pragma once

#include <string_view>

namespace penstock::http1 {

enum class Port : unsigned char { kOptional, kRequired };

// uri-host [ ":" port ]. The host may only be empty, as in a Host that knows none, where nothing
// follows it.
bool is_authority(std::string_view text, Port port = Port::kOptional) noexcept;

bool same_authority(std::string_view a, std::string_view b) noexcept;

}  // namespace penstock::http1
