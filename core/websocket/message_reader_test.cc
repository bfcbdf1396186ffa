#include "websocket/message_reader.h"

#include <gtest/gtest.h>

#include "websocket/close_code.h"
#include "websocket/testing/client.h"

namespace penstock::websocket {
namespace {

using testing::close;
using testing::expect_told;
using testing::fragment;
using testing::frame;
using testing::head;

constexpr std::uint8_t kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;

// RFC 6455, 5.7.
TEST(MessageReader, TheRfcsExamples) {
    expect_told("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text Hello\n");
    expect_told("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "ping Hello\n");
    expect_told(fragment(kText, "Hel") + frame(kContinuation, "lo"), "text Hello\n");
}

TEST(MessageReader, SizesOfLengths) {
    for (std::size_t size : {0, 1, 125, 126, 127, 128, 65535, 65536, 70000}) {
        std::string payload(size, 'x');
        Limits limits;
        std::string input = frame(kBinary, payload) + frame(kText, payload);
        std::string told = "binary ";
        told.append(payload).append("\ntext ").append(payload).append("\n");
        expect_told(input, told, limits);
    }
}

TEST(MessageReader, ControlFramesWithinAMessage) {
    expect_told(fragment(kText, "a") + frame(kPing, "1") + fragment(kContinuation, "") +
                    frame(kPong, "2") + frame(kContinuation, "b") + frame(kPing, ""),
                "ping 1\npong 2\ntext ab\nping \n");
    expect_told(fragment(kText, "a") + close(1000), "close 1000 \n");
}

TEST(MessageReader, HowMuchOfAMessageHasCome) {
    Limits limits;
    DeflatePool pool;
    MessageReader reader(limits, pool, true);
    std::string ping = frame(kPing, "12345"), rest = frame(kBinary, "1234567");
    auto come = [&reader](std::string_view bytes, Event expected) {
        reader.feed(std::as_bytes(std::span(bytes.data(), bytes.size())));
        EXPECT_EQ(reader.next(), expected);
    };
    EXPECT_FALSE(reader.is_amid_message());
    come(fragment(kText, "abc"), Event::kNeedMore);
    EXPECT_TRUE(reader.is_amid_message());
    EXPECT_EQ(reader.bytes_of_message(), 3);
    come(std::string_view(ping).substr(0, 8), Event::kNeedMore);
    EXPECT_EQ(reader.bytes_of_message(), 3);
    come(std::string_view(ping).substr(8), Event::kPing);
    come(frame(kContinuation, "d"), Event::kText);
    EXPECT_FALSE(reader.is_amid_message());
    EXPECT_EQ(reader.bytes_of_message(), 0);
    come(std::string_view(rest).substr(0, 10), Event::kNeedMore);
    EXPECT_EQ(reader.bytes_of_message(), 4);
}

TEST(MessageReader, ReservedBitsAndOpcodes) {
    for (std::uint8_t reserved : {0x20, 0x10, 0x30, 0x40, 0x70})
        expect_told(frame(kText, "", {.reserved = reserved}), "failed 1002 reserved bits are set\n",
                    {}, false);
    for (std::uint8_t opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15})
        expect_told(frame(opcode, ""), "failed 1002 unknown opcode\n");
    // Negotiated, the first is of a message's first frame only.
    for (std::uint8_t opcode : {kClose, kPing, kPong})
        expect_told(frame(opcode, "", {.reserved = 0x40}), "failed 1002 reserved bits are set\n");
    expect_told(fragment(kText, "a") + frame(kContinuation, "", {.reserved = 0x40}),
                "failed 1002 reserved bits are set\n");
}

TEST(MessageReader, AFrameWithoutAMask) {
    expect_told(frame(kText, "a", {.is_masked = false}), "failed 1002 frame without a mask\n");
    expect_told(frame(kPing, "", {.is_masked = false}), "failed 1002 frame without a mask\n");
}

TEST(MessageReader, ControlFramesAreShortAndWhole) {
    std::string most(125, 'x');
    expect_told(frame(kPing, most), "ping " + most + '\n');
    expect_told(head(kPing, 126), "failed 1002 control frame too long\n");
    expect_told(head(kClose, 70000), "failed 1002 control frame too long\n");
    expect_told(head(kPing, 4, {.length_bytes = 2}), "failed 1002 control frame too long\n");
    for (std::uint8_t opcode : {kClose, kPing, kPong})
        expect_told(fragment(opcode, ""), "failed 1002 fragmented control frame\n");
}

TEST(MessageReader, LengthsAsShortAsCanBe) {
    constexpr std::string_view kWhy = "failed 1002 length longer than it need be\n";
    expect_told(head(kBinary, 0, {.length_bytes = 2}), kWhy);
    expect_told(head(kBinary, 125, {.length_bytes = 2}), kWhy);
    expect_told(head(kBinary, 126, {.length_bytes = 8}), kWhy);
    expect_told(head(kBinary, 65535, {.length_bytes = 8}), kWhy);
}

TEST(MessageReader, LengthsThatNoMessageHas) {
    constexpr std::uint64_t kTop = std::uint64_t{1} << 63U;
    for (std::uint64_t length : {kTop, kTop + 1, ~std::uint64_t{0}})
        expect_told(head(kBinary, length), "failed 1002 length with the top bit set\n");
    expect_told(head(kBinary, kTop - 1), "failed 1009 message too big\n");
    Limits unlimited{.message_bytes = ~std::uint64_t{0}};
    // Sums of lengths that overflow.
    std::string input = fragment(kBinary, "ab") + head(kContinuation, kTop - 1);
    expect_told(input, "", unlimited);
}

TEST(MessageReader, FragmentsInOrder) {
    expect_told(frame(kContinuation, "a"), "failed 1002 continuation of no message\n");
    expect_told(frame(kText, "a") + frame(kContinuation, "b"),
                "text a\nfailed 1002 continuation of no message\n");
    expect_told(fragment(kText, "a") + frame(kText, "b"), "failed 1002 message within another\n");
    expect_told(fragment(kText, "a") + fragment(kBinary, "b"),
                "failed 1002 message within another\n");
}

TEST(MessageReader, SizeOfAMessage) {
    Limits limits{.message_bytes = 10};
    expect_told(frame(kText, "0123456789"), "text 0123456789\n", limits);
    expect_told(head(kText, 11), "failed 1009 message too big\n", limits);
    expect_told(fragment(kText, "01234") + frame(kContinuation, "56789"), "text 0123456789\n",
                limits);
    expect_told(fragment(kText, "01234") + head(kContinuation, 6), "failed 1009 message too big\n",
                limits);
}

TEST(MessageReader, NumberOfFragments) {
    Limits limits{.free_fragments = 3, .bytes_a_fragment = 4};
    std::string three = fragment(kText, "") + fragment(kContinuation, "");
    expect_told(three + frame(kContinuation, ""), "text \n", limits);
    expect_told(three + fragment(kContinuation, "") + frame(kContinuation, ""),
                "failed 1009 too many fragments\n", limits);
    expect_told(three + fragment(kContinuation, "abcd") + frame(kContinuation, "x"), "text abcdx\n",
                limits);
    // Of each message anew.
    expect_told(three + frame(kContinuation, "") + three + frame(kContinuation, ""),
                "text \ntext \n", limits);
}

TEST(MessageReader, TextIsUtf8) {
    std::string greek = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
    expect_told(frame(kText, greek), "text " + greek + '\n');
    for (std::size_t cut = 0; cut <= greek.size(); ++cut)
        expect_told(fragment(kText, greek.substr(0, cut)) + frame(kContinuation, greek.substr(cut)),
                    "text " + greek + '\n');
    constexpr std::string_view kWhy = "failed 1007 text that is not UTF-8\n";
    expect_told(frame(kText, "\xff"), kWhy);
    expect_told(frame(kText, "\xed\xa0\x80"), kWhy);
    expect_told(frame(kText, "abc\xCE"), kWhy);
    // At once, and not at the message's end.
    expect_told(fragment(kText, greek + "\xf4") + fragment(kContinuation, "\x90"), kWhy);
    expect_told(head(kText, 1000) + frame(kText, "\xff").substr(6), kWhy);
    expect_told(frame(kBinary, "\xff"), "binary \xff\n");
}

TEST(MessageReader, Closing) {
    expect_told(frame(kClose, "") + frame(kText, "unread"), "close 1005 \n");
    expect_told(frame(kClose, "x"), "failed 1002 close frame with half a code\n");
    for (std::uint16_t code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                               1014, 3000, 3999, 4000, 4999})
        expect_told(close(code, "why"), "close " + std::to_string(code) + " why\n");
    for (std::uint16_t code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535})
        expect_told(close(code), "failed 1002 close code that can't be sent\n");
    std::string most(123, 'x');
    expect_told(close(1000, most), "close 1000 " + most + '\n');
    expect_told(close(1000, "\xff"), "failed 1007 close reason that is not UTF-8\n");
    expect_told(close(1000, "\xCE"), "failed 1007 close reason that is not UTF-8\n");
}

// ---- compressed ------------------------------------------------------------------------------

std::string packed(std::string_view message) {
    DeflatePool pool;
    return std::string(pool.pack(message, 15));
}

std::string deflated(std::uint8_t opcode, std::string_view data) {
    return frame(opcode, data, {.reserved = 0x40});
}

// RFC 7692, 7.2.3.
TEST(MessageReader, TheRfcsCompressedExamples) {
    using namespace std::string_view_literals;
    constexpr std::string_view kHello = "\xf2\x48\xcd\xc9\xc9\x07\x00"sv;
    expect_told(deflated(kText, kHello), "text Hello\n");
    expect_told(fragment(kText, kHello.substr(0, 3), 0x40) + frame(kContinuation, kHello.substr(3)),
                "text Hello\n");
    // A stored block; one that says that it is the last; two blocks.
    expect_told(deflated(kText, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"sv), "text Hello\n");
    expect_told(deflated(kText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"sv), "text Hello\n");
    expect_told(deflated(kText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"sv),
                "text Hello\n");
    expect_told(deflated(kText, "\x00"sv) + frame(kText, "plain"), "text \ntext plain\n");
}

TEST(MessageReader, CompressedMessagesOfManySizes) {
    std::mt19937 random(2);
    for (std::size_t size : {64, 100, 1000, 5000, 40000, 200000}) {
        std::string text;
        while (text.size() < size) text += static_cast<char>('a' + random() % 4);
        std::string data = packed(text);
        ASSERT_FALSE(data.empty());
        Limits limits;
        std::string told = "text ";
        told.append(text).append("\nbinary ").append(text).append("\n");
        expect_told(deflated(kText, data) + deflated(kBinary, data), told, limits);
    }
}

TEST(MessageReader, NoWindowIsKept) {
    DeflatePool pool;
    std::string text(100, 'x');
    std::string first(pool.pack(text, 15)), second(pool.pack(text, 15));
    EXPECT_EQ(first, second);
    expect_told(deflated(kText, first) + deflated(kText, second),
                "text " + text + "\ntext " + text + '\n');
}

TEST(MessageReader, WhatCantBeInflated) {
    expect_told(deflated(kText, "\xff\xff\xff"), "failed 1007 data that can't be inflated\n");
    expect_told(deflated(kText, "\x06"), "failed 1007 data that can't be inflated\n");
    expect_told(deflated(kText, packed(std::string(100, '\xff'))),
                "failed 1007 text that is not UTF-8\n");
}

// Text that is none stands before data that is none: which is told does not depend on the pieces.
TEST(MessageReader, WhatStandsBeforeAFaultIsLookedAt) {
    using namespace std::string_view_literals;
    // Stored: FF, without an end; then a block of the kind that there is not.
    expect_told(deflated(kText, "\x00\x01\x00\xfe\xff\xff\x06"sv),
                "failed 1007 text that is not UTF-8\n");
    expect_told(deflated(kText, "\x00\x01\x00\xfe\xff\x41\x06"sv),
                "failed 1007 data that can't be inflated\n");
    std::string text = "\xff" + std::string(1000, 'x');
    expect_told(deflated(kText, packed(text)), "failed 1007 text that is not UTF-8\n",
                {.message_bytes = 100});
    expect_told(deflated(kText, packed(text.substr(1) + text)), "failed 1009 message too big\n",
                {.message_bytes = 100});
}

TEST(MessageReader, BombsAreRefused) {
    std::string data = packed(std::string(1 << 20, 'x'));
    ASSERT_LT(data.size(), 2000U);
    expect_told(deflated(kBinary, data), "failed 1009 message too big\n",
                {.message_bytes = 100000});
    expect_told(deflated(kBinary, data), "failed 1009 message inflates too much\n",
                {.inflation = 100, .free_inflated = 1000});
    expect_told(deflated(kBinary, packed(std::string(2000, 'x'))),
                "binary " + std::string(2000, 'x') + '\n',
                {.inflation = 10, .free_inflated = 2000});
    // What is large before it is inflated, too.
    expect_told(head(kBinary, 200, {.reserved = 0x40}), "failed 1009 message too big\n",
                {.message_bytes = 100});
}

TEST(MessageReader, InflatersAreLentForAMessageOnly) {
    Limits limits;
    DeflatePool pool;
    std::string data = packed(std::string(1000, 'x'));
    auto feed = [](MessageReader& reader, const std::string& bytes) {
        reader.feed(std::as_bytes(std::span(bytes.data(), bytes.size())));
        return reader.next();
    };
    {
        MessageReader one(limits, pool, true);
        EXPECT_EQ(feed(one, fragment(kText, data, 0x40)), Event::kNeedMore);
        EXPECT_EQ(pool.idle(), 0U);
        EXPECT_EQ(feed(one, frame(kContinuation, "")), Event::kText);
        EXPECT_EQ(pool.idle(), 1U);
        EXPECT_EQ(feed(one, fragment(kText, data, 0x40)), Event::kNeedMore);
        EXPECT_EQ(pool.idle(), 0U);
        MessageReader other(limits, pool, true);
        EXPECT_EQ(feed(other, fragment(kText, data, 0x40)), Event::kNeedMore);
        EXPECT_EQ(feed(other, frame(kText, "")), Event::kFailed);
        EXPECT_EQ(pool.idle(), 1U);
    }
    EXPECT_EQ(pool.idle(), 2U);
}

}  // namespace
}  // namespace penstock::websocket
