// SHA-1 (RFC 3174), which the WebSocket handshake asks for as a checksum; it guards nothing. Our
// own, for libssl and libcrypto are not linked.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace penstock::websocket {

std::array<std::uint8_t, 20> sha1(std::string_view text) noexcept;

}  // namespace penstock::websocket
