#include "websocket/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::websocket {
namespace {

std::string encoded(std::uint32_t point) {
    auto tail = [](std::uint32_t bits) { return static_cast<char>(0x80U | (bits & 0x3FU)); };
    if (point < 0x80) return {static_cast<char>(point)};
    if (point < 0x800) return {static_cast<char>(0xC0U | point >> 6U), tail(point)};
    if (point < 0x10000)
        return {static_cast<char>(0xE0U | point >> 12U), tail(point >> 6U), tail(point)};
    return {static_cast<char>(0xF0U | point >> 18U), tail(point >> 12U), tail(point >> 6U),
            tail(point)};
}

TEST(Utf8, EachCodePoint) {
    for (std::uint32_t point = 0; point < 0x120000; ++point) {
        bool is_one = point < 0x110000 && (point < 0xD800 || point > 0xDFFF);
        ASSERT_EQ(is_utf8(encoded(point)), is_one) << point;
    }
}

TEST(Utf8, NothingOverlong) {
    EXPECT_FALSE(is_utf8("\xC0\x80"));
    EXPECT_FALSE(is_utf8("\xC1\xBF"));
    EXPECT_FALSE(is_utf8("\xE0\x80\x80"));
    EXPECT_FALSE(is_utf8("\xE0\x9F\xBF"));
    EXPECT_FALSE(is_utf8("\xF0\x80\x80\x80"));
    EXPECT_FALSE(is_utf8("\xF0\x8F\xBF\xBF"));
    EXPECT_FALSE(is_utf8("\xF8\x88\x80\x80\x80"));
    EXPECT_FALSE(is_utf8("\xFE"));
    EXPECT_FALSE(is_utf8("\x80"));
}

TEST(Utf8, SplitsDoNotMatter) {
    std::string text =
        "a text that is long enough \xCE\xBA\xE1\xBD\xB9\xCF\x83\xF0\x9F\x98\x80 end";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        Utf8Validator validator;
        ASSERT_TRUE(validator.feed(std::string_view(text).substr(0, cut)));
        ASSERT_TRUE(validator.feed(std::string_view(text).substr(cut)));
        ASSERT_TRUE(validator.is_complete());
    }
}

TEST(Utf8, WrongAtTheFirstByteThatIs) {
    Utf8Validator validator;
    EXPECT_TRUE(validator.feed("\xF4"));
    EXPECT_FALSE(validator.feed("\x90"));
    Utf8Validator incomplete;
    EXPECT_TRUE(incomplete.feed("\xE2\x82"));
    EXPECT_FALSE(incomplete.is_complete());
}

}  // namespace
}  // namespace penstock::websocket
