// The codes of a close frame: RFC 6455, 7.4, and IANA's registry.
#pragma once

#include <cstdint>

namespace penstock::websocket {

enum : std::uint16_t {
    kNormalClosure = 1000,
    kGoingAway = 1001,
    kProtocolError = 1002,
    kNoStatus = 1005,         // never sent: the close frame had none
    kAbnormalClosure = 1006,  // never sent: there was no close frame
    kInvalidData = 1007,
    kPolicyViolation = 1008,
    kMessageTooBig = 1009,
    kInternalError = 1011,
    kServiceRestart = 1012,
};

// Whether a close frame may have it.
constexpr bool is_close_code(std::uint16_t code) noexcept {
    if (code >= 3000) return code < 5000;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

}  // namespace penstock::websocket
