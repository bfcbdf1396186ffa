#include "websocket/frame.h"

#include <gtest/gtest.h>

#include "websocket/close_code.h"

namespace penstock::websocket {
namespace {

using namespace std::string_view_literals;

std::string head_of(std::size_t length, bool is_deflated = false) {
    std::string out;
    append_frame_head(out, Opcode::kBinary, length, is_deflated);
    return out;
}

// RFC 6455, 5.7.
TEST(FrameWriter, Lengths) {
    EXPECT_EQ(head_of(0), "\x82\x00"sv);
    EXPECT_EQ(head_of(125), "\x82\x7d"sv);
    EXPECT_EQ(head_of(126), "\x82\x7e\x00\x7e"sv);
    EXPECT_EQ(head_of(256), "\x82\x7e\x01\x00"sv);
    EXPECT_EQ(head_of(65535), "\x82\x7e\xff\xff"sv);
    EXPECT_EQ(head_of(65536), "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"sv);
    EXPECT_EQ(head_of(5, true), "\xc2\x05"sv);
}

std::string closed(std::uint16_t code, std::string_view reason) {
    std::string out;
    append_close(out, code, reason);
    return out;
}

TEST(FrameWriter, Closing) {
    EXPECT_EQ(closed(1000, ""), "\x88\x02\x03\xe8"sv);
    EXPECT_EQ(closed(1001, "bye"),
              "\x88\x05\x03\xe9"
              "bye"sv);
    EXPECT_EQ(closed(kNoStatus, "unsaid"), "\x88\x00"sv);
}

TEST(FrameWriter, AReasonIsCutBetweenCharacters) {
    std::string reason(122, 'x');
    EXPECT_EQ(closed(1000, reason + "yz").substr(4), reason + "y");
    EXPECT_EQ(closed(1000, reason + "\xc3\xa9").substr(4), reason);
    EXPECT_EQ(closed(1000, reason.substr(1) + "\xc3\xa9").substr(4), reason.substr(1) + "\xc3\xa9");
    EXPECT_EQ(closed(1000, reason + "\xc3\xa9")[1], char{124});
}

}  // namespace
}  // namespace penstock::websocket
