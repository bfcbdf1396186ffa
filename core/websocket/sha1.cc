#include "websocket/sha1.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace penstock::websocket {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::size_t kLength = 8;  // of the number of bits that ends the last block

using Sums = std::array<std::uint32_t, 5>;

std::uint32_t word_at(const std::uint8_t* bytes) noexcept {
    return std::uint32_t{bytes[0]} << 24U | std::uint32_t{bytes[1]} << 16U |
           std::uint32_t{bytes[2]} << 8U | std::uint32_t{bytes[3]};
}

void add_block(Sums& sums, const std::uint8_t* block) noexcept {
    std::array<std::uint32_t, 80> words;
    for (std::size_t i = 0; i < 16; ++i) words[i] = word_at(block + 4 * i);
    for (std::size_t i = 16; i < 80; ++i)
        words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    auto [a, b, c, d, e] = sums;
    for (std::size_t i = 0; i < 80; ++i) {
        std::uint32_t mixed, constant;
        if (i < 20) {
            mixed = (b & c) | (~b & d);
            constant = 0x5A827999;
        } else if (i < 40) {
            mixed = b ^ c ^ d;
            constant = 0x6ED9EBA1;
        } else if (i < 60) {
            mixed = (b & c) | (b & d) | (c & d);
            constant = 0x8F1BBCDC;
        } else {
            mixed = b ^ c ^ d;
            constant = 0xCA62C1D6;
        }
        std::uint32_t next = std::rotl(a, 5) + mixed + e + words[i] + constant;
        e = d;
        d = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
    }
    sums = {sums[0] + a, sums[1] + b, sums[2] + c, sums[3] + d, sums[4] + e};
}

}  // namespace

std::array<std::uint8_t, 20> sha1(std::string_view text) noexcept {
    Sums sums = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    std::uint64_t bits = std::uint64_t{text.size()} * 8;
    for (; text.size() >= kBlock; text.remove_prefix(kBlock))
        add_block(sums, reinterpret_cast<const std::uint8_t*>(text.data()));
    std::array<std::uint8_t, 2 * kBlock> last{};
    if (!text.empty()) std::memcpy(last.data(), text.data(), text.size());
    last[text.size()] = 0x80;
    std::size_t size = text.size() + 1 + kLength <= kBlock ? kBlock : 2 * kBlock;
    for (std::size_t i = 0; i < kLength; ++i)
        last[size - 1 - i] = static_cast<std::uint8_t>(bits >> (8 * i));
    for (std::size_t at = 0; at < size; at += kBlock) add_block(sums, last.data() + at);
    std::array<std::uint8_t, 20> digest;
    for (std::size_t i = 0; i < digest.size(); ++i)
        digest[i] = static_cast<std::uint8_t>(sums[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
}

}  // namespace penstock::websocket
