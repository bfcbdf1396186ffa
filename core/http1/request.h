// The head of a request, as it stands in memory that somebody else keeps.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace penstock::http1 {

struct Field {
    std::string_view name;   // as it was sent: case does not matter in it
    std::string_view value;  // without the white space around it
};

enum class Framing : std::uint8_t { kNone, kLength, kChunked };

struct Request {
    std::string_view method;
    std::string_view target;
    std::span<const Field> fields;
    std::uint64_t length = 0;  // of the body, with kLength
    Framing framing = Framing::kNone;
    std::uint8_t minor = 1;  // of HTTP/1.x
    bool keeps_alive = true;
    bool expects_continue = false;  // Expect: 100-continue, of 1.1
    std::string_view upgrade;       // what Upgrade asks for, where Connection names it
};

// Why a client is refused: the peer's fault, with the status to answer. `reason` is static.
struct Refusal {
    int status = 0;
    const char* reason = "";
};

}  // namespace penstock::http1
