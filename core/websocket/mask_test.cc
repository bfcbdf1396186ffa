#include "websocket/mask.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::websocket {
namespace {

// As the RFC writes it.
std::string byte_by_byte(const std::string& text, const MaskKey& key, std::size_t at) {
    std::string out = text;
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<char>(static_cast<std::uint8_t>(out[i]) ^ key[(at + i) % 4]);
    return out;
}

TEST(Mask, WordsGiveWhatBytesGive) {
    MaskKey key = {0x37, 0xfa, 0x21, 0x3d};
    std::string text;
    for (int i = 0; i < 200; ++i) text += static_cast<char>(i * 7);
    for (std::size_t begin = 0; begin < 9; ++begin)
        for (std::size_t size = 0; begin + size <= text.size(); ++size)
            for (std::size_t at = 0; at < 5; ++at) {
                std::string piece = text.substr(begin, size);
                std::string apart(size, '\0');
                unmask(apart.data(), text.data() + begin, size, key, at);
                ASSERT_EQ(apart, byte_by_byte(piece, key, at)) << begin << ' ' << size << ' ' << at;
                unmask(piece.data(), piece.data(), size, key, at);
                ASSERT_EQ(piece, apart);
            }
}

TEST(Mask, FarIntoAPayload) {
    MaskKey key = {1, 2, 3, 4};
    std::string text = "abcdefghij";
    std::string out(text.size(), '\0');
    unmask(out.data(), text.data(), text.size(), key, (std::uint64_t{1} << 40U) + 3);
    EXPECT_EQ(out, byte_by_byte(text, key, 3));
}

}  // namespace
}  // namespace penstock::websocket
