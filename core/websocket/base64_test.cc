#include "websocket/base64.h"

#include <gtest/gtest.h>

namespace penstock::websocket {
namespace {

std::string encoded(std::string_view text) {
    return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

// RFC 4648, 10.
TEST(Base64, VectorsOfTheRfc) {
    EXPECT_EQ(encoded(""), "");
    EXPECT_EQ(encoded("f"), "Zg==");
    EXPECT_EQ(encoded("fo"), "Zm8=");
    EXPECT_EQ(encoded("foo"), "Zm9v");
    EXPECT_EQ(encoded("foob"), "Zm9vYg==");
    EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
    EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
    EXPECT_EQ(encoded("\xfb\xff\xfe"), "+//+");
}

TEST(Base64, SixteenBytes) {
    EXPECT_TRUE(is_base64_of_16("dGhlIHNhbXBsZSBub25jZQ=="));
    EXPECT_TRUE(is_base64_of_16("AQIDBAUGBwgJCgsMDQ4PEC=="));
    EXPECT_FALSE(is_base64_of_16(""));
    EXPECT_FALSE(is_base64_of_16("dGhlIHNhbXBsZSBub25jZQ="));
    EXPECT_FALSE(is_base64_of_16("dGhlIHNhbXBsZSBub25jZWE="));
    EXPECT_FALSE(is_base64_of_16("dGhlIHNhbXBsZSBub25jZ==="));
    EXPECT_FALSE(is_base64_of_16("dGhlIHNhbXBsZSBub25jZ\xc3=="));
    EXPECT_FALSE(is_base64_of_16("dGhlIHNhbXBsZSBu=25jZQ=="));
}

}  // namespace
}  // namespace penstock::websocket
