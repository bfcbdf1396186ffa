// What the WebSockets of one server have in common.
#pragma once

#include <cstddef>

#include "base/clock.h"
#include "websocket/deflate.h"
#include "websocket/limits.h"

namespace penstock::py {

struct WebSocketSettings {
    bool is_on = true;  // else a request for one is a request like others
    websocket::Limits limits;
    websocket::DeflatePool pool;
    std::size_t most_queued = 32;  // messages that have come and are not received; 0 counts as 1
    Duration ping_interval{};      // zero: no pings are sent
    Duration ping_timeout{};       // that no byte comes behind a ping: 1011. Zero: for ever
    Duration close_timeout{};      // for the client's close frame behind ours
    bool deflates = true;          // permessage-deflate, with clients that offer it
};

}  // namespace penstock::py
