#include "websocket/mask.h"

#include <cstring>

namespace penstock::websocket {

void unmask(char* to, const char* from, std::size_t size, const MaskKey& key,
            std::uint64_t at) noexcept {
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    std::array<std::uint8_t, kWord> turned;
    for (std::size_t i = 0; i < kWord; ++i) turned[i] = key[(at + i) % key.size()];
    std::uint64_t word_key;
    std::memcpy(&word_key, turned.data(), kWord);
    std::size_t done = 0;
    // Compilers make vectors of these: four words are two of SSE2's, and one of AVX2's.
    for (; size - done >= 4 * kWord; done += 4 * kWord) {
        std::array<std::uint64_t, 4> words;
        std::memcpy(words.data(), from + done, sizeof words);
        for (std::uint64_t& word : words) word ^= word_key;
        std::memcpy(to + done, words.data(), sizeof words);
    }
    for (; size - done >= kWord; done += kWord) {
        std::uint64_t word;
        std::memcpy(&word, from + done, kWord);
        word ^= word_key;
        std::memcpy(to + done, &word, kWord);
    }
    for (std::size_t i = 0; done + i < size; ++i)
        to[done + i] = static_cast<char>(static_cast<std::uint8_t>(from[done + i]) ^ turned[i]);
}

}  // namespace penstock::websocket
