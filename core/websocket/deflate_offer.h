// Agreeing on permessage-deflate: RFC 7692, 5 and 7.1.
//
// Neither side keeps its window between messages, which a server may ask for unbidden (7.1.1): so
// a connection holds nothing of zlib while no message is under way, and a few streams serve all.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::websocket {

struct DeflateTerms {
    int server_window_bits = 15;     // at most, of what we send
    bool names_server_bits = false;  // the client has asked for it, and is told
};

// Of the first offer in a Sec-WebSocket-Extensions that can be met. What is malformed is no offer.
std::optional<DeflateTerms> agree_on_deflate(std::string_view offers) noexcept;

// The response's Sec-WebSocket-Extensions. Throws std::bad_alloc.
std::string deflate_response(const DeflateTerms& terms);

}  // namespace penstock::websocket
