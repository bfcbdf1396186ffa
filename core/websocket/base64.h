// Base64 (RFC 4648, 4), as much of it as the WebSocket handshake needs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace penstock::websocket {

std::string base64(std::span<const std::uint8_t> bytes);  // throws std::bad_alloc

// Whether it is what 16 bytes are written as. The bits that the last letter has too many are not
// looked at: clients are known that set them.
bool is_base64_of_16(std::string_view text) noexcept;

}  // namespace penstock::websocket
