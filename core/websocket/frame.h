// Frames: RFC 6455, 5.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "websocket/mask.h"

namespace penstock::websocket {

enum class Opcode : std::uint8_t {
    kContinuation = 0x0,
    kText = 0x1,
    kBinary = 0x2,
    kClose = 0x8,
    kPing = 0x9,
    kPong = 0xA,
};

constexpr bool is_control(Opcode opcode) noexcept {
    return (static_cast<std::uint8_t>(opcode) & 0x8U) != 0;
}

constexpr std::size_t kMostOfControl = 125;  // bytes of a control frame's payload
constexpr std::size_t kLongestHead = 14;

struct FrameHead {
    std::uint64_t length = 0;
    MaskKey key{};
    Opcode opcode = Opcode::kContinuation;
    bool is_final = false;
    bool is_deflated = false;  // RSV1, of permessage-deflate
};

// A client's head out of bytes that come in any pieces.
class FrameHeadParser {
public:
    enum class Step : std::uint8_t { kNeedMore, kDone, kRefused };

    // Takes off `input` what it uses. After kDone the next one may begin.
    Step read(std::string_view& input, bool may_be_deflated, FrameHead& head) noexcept;
    bool is_amid() const noexcept { return have_ != 0; }
    const char* reason() const noexcept { return reason_; }  // of kRefused; static

private:
    bool check_start(bool may_be_deflated) noexcept;
    bool read_length(std::uint64_t& length) noexcept;

    std::array<std::uint8_t, kLongestHead> bytes_;
    std::uint8_t have_ = 0;
    const char* reason_ = "";
};

// A server's frames, which are not masked. All throw std::bad_alloc.
void append_frame_head(std::string& out, Opcode opcode, std::size_t length, bool is_deflated);
// `payload` is at most kMostOfControl bytes long.
void append_control(std::string& out, Opcode opcode, std::string_view payload);
// `code` kNoStatus: without one. The reason is cut, between characters, where it is too long.
void append_close(std::string& out, std::uint16_t code, std::string_view reason);

}  // namespace penstock::websocket
