#include "websocket/sha1.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::websocket {
namespace {

std::string hex(std::string_view text) {
    std::string out;
    for (std::uint8_t byte : sha1(text)) {
        constexpr char kDigits[] = "0123456789abcdef";
        out += kDigits[byte >> 4U];
        out += kDigits[byte & 15U];
    }
    return out;
}

// RFC 3174, 7.3, and FIPS 180's of nothing.
TEST(Sha1, VectorsOfTheRfc) {
    EXPECT_EQ(hex(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    EXPECT_EQ(hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    EXPECT_EQ(hex(std::string(1000000, 'a')), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    std::string eighty;
    for (int i = 0; i < 80; ++i) eighty += "01234567";
    EXPECT_EQ(hex(eighty), "dea356a2cddd90c7a7ecedc5ebb563934f460452");
}

// Around the sizes at which the end takes a block more: as Python's hashlib has them.
TEST(Sha1, WhereTheLengthDoesNotFit) {
    EXPECT_EQ(hex(std::string(55, 'a')), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    EXPECT_EQ(hex(std::string(56, 'a')), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    EXPECT_EQ(hex(std::string(63, 'a')), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
    EXPECT_EQ(hex(std::string(64, 'a')), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

}  // namespace
}  // namespace penstock::websocket
