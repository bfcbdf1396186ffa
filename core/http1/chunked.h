// The chunks of a body, up to the one that is empty; the trailers behind that are others' to read.
// RFC 9112, 7.1, with CRLF as the only end of a line and without "bad" white space. Sans I/O: each
// byte is looked at once, and none is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http1/limits.h"
#include "http1/request.h"

namespace penstock::http1 {

class ChunkedDecoder {
public:
    enum class Step : std::uint8_t {
        kNeedMore,  // all of the input is used
        kData,      // a piece of a chunk, never empty
        kLast,      // the last chunk's line is used; it stays so
        kRefused,
    };

    // Takes what it uses from the front of `input`. `data` is for kData, `refusal` for kRefused.
    Step next(std::string_view& input, const Limits& limits, std::string_view& data,
              Refusal& refusal) noexcept;

private:
    enum class State : std::uint8_t {
        kSize,
        kNameStart,  // of an extension
        kName,
        kValueStart,
        kToken,
        kQuoted,
        kEscaped,
        kAfterQuoted,
        kSizeLineFeed,
        kData,
        kDataReturn,
        kDataLineFeed,
        kLast,
    };

    // Whether the byte may stand where it stands in a chunk's first line.
    bool take(char byte) noexcept;
    bool take_delimiter(char byte) noexcept;
    bool begin_chunk(const Limits& limits, Refusal& refusal) noexcept;

    std::uint64_t size_ = 0;      // of the chunk; of what is missing of it, in kData
    std::uint64_t received_ = 0;  // of chunks that are complete, and of this one once it has begun
    std::uint64_t chunks_ = 0;
    std::size_t extension_bytes_ = 0;
    std::uint8_t digits_ = 0;
    State state_ = State::kSize;
};

}  // namespace penstock::http1
