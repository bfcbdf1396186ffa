// What a client may send before it is refused. Everything is bounded, and the bounds are on by
// default; docs/reference/serve.md lists them with what is answered.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::http1 {

struct Limits {
    std::size_t target_bytes = std::size_t{16} * 1024;   // 414
    std::size_t head_bytes = std::size_t{64} * 1024;     // request line and fields: 431
    std::size_t fields = 128;                            // 431
    std::uint64_t body_bytes = std::uint64_t{1} << 30U;  // 413; decoded, where it comes in chunks
    std::size_t chunk_extension_bytes = 256;             // of one chunk: 400
    // Chunks may be tiny, but not all: so many, and one more for each so many bytes that came. 400
    std::size_t free_chunks = 1024;
    std::size_t bytes_a_chunk = 16;
    std::size_t trailer_bytes = std::size_t{8} * 1024;  // 431
};

}  // namespace penstock::http1
