#include "websocket/frame.h"

#include <algorithm>

#include "websocket/close_code.h"

namespace penstock::websocket {
namespace {

constexpr std::uint8_t kFinal = 0x80;
constexpr std::uint8_t kDeflated = 0x40;
constexpr std::uint8_t kOtherReserved = 0x30;
constexpr std::uint8_t kOpcodeBits = 0x0F;
constexpr std::uint8_t kMasked = 0x80;
constexpr std::uint8_t kLengthBits = 0x7F;
constexpr std::uint8_t kLengthOfTwo = 126;
constexpr std::uint8_t kLengthOfEight = 127;

std::size_t size_of_length(std::uint8_t start) noexcept {
    std::uint8_t length = start & kLengthBits;
    return length == kLengthOfTwo ? 2 : length == kLengthOfEight ? 8 : 0;
}

void append_number(std::string& out, std::uint64_t number, unsigned size) {
    for (unsigned i = size; i-- > 0;) out += static_cast<char>(number >> (8 * i) & 0xFFU);
}

}  // namespace

bool FrameHeadParser::check_start(bool may_be_deflated) noexcept {
    auto refuse = [this](const char* reason) {
        reason_ = reason;
        return false;
    };
    std::uint8_t start = bytes_[0];
    std::uint8_t code = start & kOpcodeBits;
    if (code > 0xA || (code > 0x2 && code < 0x8)) return refuse("unknown opcode");
    auto opcode = static_cast<Opcode>(code);
    if ((start & kOtherReserved) != 0) return refuse("reserved bits are set");
    bool is_first_of_message = opcode == Opcode::kText || opcode == Opcode::kBinary;
    if ((start & kDeflated) != 0 && (!may_be_deflated || !is_first_of_message))
        return refuse("reserved bits are set");
    if (is_control(opcode) && (start & kFinal) == 0) return refuse("fragmented control frame");
    if (have_ < 2) return true;
    if ((bytes_[1] & kMasked) == 0) return refuse("frame without a mask");
    if (is_control(opcode) && (bytes_[1] & kLengthBits) > kMostOfControl)
        return refuse("control frame too long");
    return true;
}

bool FrameHeadParser::read_length(std::uint64_t& length) noexcept {
    std::size_t size = size_of_length(bytes_[1]);
    length = bytes_[1] & kLengthBits;
    if (size == 0) return true;
    length = 0;
    for (std::size_t i = 0; i < size; ++i) length = length << 8U | bytes_[2 + i];
    constexpr std::uint64_t kTopBit = std::uint64_t{1} << 63U;
    if ((length & kTopBit) != 0) {
        reason_ = "length with the top bit set";
        return false;
    }
    if (length < (size == 2 ? 126U : 65536U)) {
        reason_ = "length longer than it need be";
        return false;
    }
    return true;
}

FrameHeadParser::Step FrameHeadParser::read(std::string_view& input, bool may_be_deflated,
                                            FrameHead& head) noexcept {
    auto refused = [this] {
        have_ = 0;
        return Step::kRefused;
    };
    auto fill = [&](std::size_t wanted) {
        std::size_t count = std::min(wanted - have_, input.size());
        std::copy_n(input.data(), count, bytes_.begin() + have_);
        input.remove_prefix(count);
        have_ = static_cast<std::uint8_t>(have_ + count);
        return have_ == wanted;
    };
    if (have_ < 2) {
        bool is_whole = fill(2);
        if (have_ > 0 && !check_start(may_be_deflated)) return refused();
        if (!is_whole) return Step::kNeedMore;
    }
    // The length is judged before the key has come: there may be none to wait for.
    std::size_t key_at = 2 + size_of_length(bytes_[1]);
    if (have_ < key_at && !fill(key_at)) return Step::kNeedMore;
    std::uint64_t length = 0;
    if (!read_length(length)) return refused();
    if (!fill(key_at + head.key.size())) return Step::kNeedMore;
    head.length = length;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(key_at), head.key.size(),
                head.key.begin());
    head.opcode = static_cast<Opcode>(bytes_[0] & kOpcodeBits);
    head.is_final = (bytes_[0] & kFinal) != 0;
    head.is_deflated = (bytes_[0] & kDeflated) != 0;
    have_ = 0;
    return Step::kDone;
}

void append_frame_head(std::string& out, Opcode opcode, std::size_t length, bool is_deflated) {
    out += static_cast<char>(kFinal | static_cast<std::uint8_t>(opcode) |
                             (is_deflated ? kDeflated : 0));
    if (length < kLengthOfTwo) {
        out += static_cast<char>(length);
    } else if (length < 65536) {
        out += static_cast<char>(kLengthOfTwo);
        append_number(out, length, 2);
    } else {
        out += static_cast<char>(kLengthOfEight);
        append_number(out, length, 8);
    }
}

void append_control(std::string& out, Opcode opcode, std::string_view payload) {
    append_frame_head(out, opcode, payload.size(), false);
    out += payload;
}

void append_close(std::string& out, std::uint16_t code, std::string_view reason) {
    if (code == kNoStatus) return append_control(out, Opcode::kClose, {});
    std::size_t size = std::min(reason.size(), kMostOfControl - 2);
    // Not within a character.
    while (size < reason.size() && size > 0 &&
           (static_cast<std::uint8_t>(reason[size]) & 0xC0U) == 0x80)
        --size;
    append_frame_head(out, Opcode::kClose, 2 + size, false);
    append_number(out, code, 2);
    out += reason.substr(0, size);
}

}  // namespace penstock::websocket
