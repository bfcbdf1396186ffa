// What a WebSocket's client may send before it is closed, with 1009.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::websocket {

struct Limits {
    std::uint64_t message_bytes = std::uint64_t{16} << 20U;  // inflated
    // Fragments may be tiny, but not all: so many, and one more for each so many bytes that came.
    std::size_t free_fragments = 1024;
    std::size_t bytes_a_fragment = 16;
    // Bytes that one of a compressed message may become, once there are so many; 0: no bound.
    std::size_t inflation = 256;
    std::size_t free_inflated = std::size_t{1} << 20U;
};

}  // namespace penstock::websocket
