#include "http1/scanner.h"

#include <array>
#include <bit>
#include <cstdint>

#include "http1/byte_class.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace penstock::http1 {
namespace {

template <ByteClass kClass>
const char* scan(const char* at, const char* end) noexcept {
    while (at != end && is(kClass, *at)) ++at;
    return at;
}

constexpr Scanner kScalar = {"scalar", scan<ByteClass::kToken>, scan<ByteClass::kTarget>,
                             scan<ByteClass::kValue>};

#ifdef __x86_64__

// ---- SSE2, which every x86-64 has ---------------------------------------------------------------

__m128i load_16(const char* at) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// The bytes in [first, first + count), without their signs.
__m128i in_range(__m128i bytes, char first, int count) noexcept {
    __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    __m128i most = _mm_set1_epi8(static_cast<char>(count - 1));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, most), from_first);
}

__m128i equal_16(__m128i bytes, char byte) noexcept {
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte));
}

// Without a table of nibbles (pshufb is SSSE3): what names are made of, and the rest by the table.
__m128i in_token_16(__m128i bytes) noexcept {
    __m128i letters = in_range(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 26);
    __m128i digits = in_range(bytes, '0', 10);
    return _mm_or_si128(_mm_or_si128(letters, digits), equal_16(bytes, '-'));
}

__m128i in_target_16(__m128i bytes) noexcept {
    return _mm_andnot_si128(equal_16(bytes, '#'), in_range(bytes, 0x21, 0x7F - 0x21));
}

__m128i in_value_16(__m128i bytes) noexcept {
    __m128i not_low = in_range(bytes, 0x20, 0x100 - 0x20);
    return _mm_or_si128(_mm_andnot_si128(equal_16(bytes, 0x7F), not_low), equal_16(bytes, '\t'));
}

template <ByteClass kClass, __m128i (*kIn)(__m128i) noexcept>
const char* scan_by_16(const char* at, const char* end) noexcept {
    while (end - at >= 16) {
        auto others = ~static_cast<std::uint32_t>(_mm_movemask_epi8(kIn(load_16(at)))) & 0xFFFFU;
        if (others == 0) {
            at += 16;
            continue;
        }
        at += std::countr_zero(others);
        if (kClass != ByteClass::kToken || !is(kClass, *at)) return at;
        ++at;
    }
    return scan<kClass>(at, end);
}

constexpr Scanner kSse2 = {"SSE2", scan_by_16<ByteClass::kToken, in_token_16>,
                           scan_by_16<ByteClass::kTarget, in_target_16>,
                           scan_by_16<ByteClass::kValue, in_value_16>};

// ---- AVX2 ---------------------------------------------------------------------------------------

// A byte below 0x80 is of a class where the entry of its low nibble has the bit of its high one.
template <ByteClass kClass>
constexpr std::array<std::uint8_t, 16> kLowNibbles = [] {
    std::array<std::uint8_t, 16> entries{};
    for (unsigned byte = 0; byte < 0x80; ++byte)
        if (is(kClass, static_cast<char>(byte)))
            entries[byte & 15U] =
                static_cast<std::uint8_t>(entries[byte & 15U] | 1U << (byte >> 4U));
    return entries;
}();
constexpr std::array<std::uint8_t, 16> kHighNibbles = {1, 2, 4, 8, 16, 32, 64, 128};

#define AVX2 __attribute__((target("avx2")))

AVX2 inline __m256i twice(const std::array<std::uint8_t, 16>& entries) noexcept {
    return _mm256_broadcastsi128_si256(load_16(reinterpret_cast<const char*>(entries.data())));
}

// The bytes that are not of the class, a bit each.
template <ByteClass kClass>
AVX2 inline std::uint32_t others_of_32(const char* at) noexcept {
    __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    // pshufb gives 0 where bit 7 is set, so these are of no class.
    __m256i low = _mm256_shuffle_epi8(twice(kLowNibbles<kClass>), bytes);
    __m256i high_nibbles = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    __m256i high = _mm256_shuffle_epi8(twice(kHighNibbles), high_nibbles);
    __m256i none = _mm256_cmpeq_epi8(_mm256_and_si256(low, high), _mm256_setzero_si256());
    auto others = static_cast<std::uint32_t>(_mm256_movemask_epi8(none));
    if constexpr (kClass == ByteClass::kValue)
        others &= ~static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));  // obs-text
    return others;
}

template <ByteClass kClass>
AVX2 const char* scan_by_32(const char* at, const char* end) noexcept {
    for (; end - at >= 32; at += 32)
        if (std::uint32_t others = others_of_32<kClass>(at); others != 0)
            return at + std::countr_zero(others);
    return scan<kClass>(at, end);
}

constexpr Scanner kAvx2 = {"AVX2", scan_by_32<ByteClass::kToken>, scan_by_32<ByteClass::kTarget>,
                           scan_by_32<ByteClass::kValue>};

// Asked of the processor itself: __builtin_cpu_supports() wants a runtime library that not every
// compiler of wheels brings.
bool has_avx2() noexcept {
    unsigned a, b, c, d;
    constexpr unsigned kXsaveAndAvx = 1U << 27U | 1U << 28U;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kXsaveAndAvx) != kXsaveAndAvx) return false;
    unsigned kept, high;  // what the kernel keeps of a thread: the halves of the wide registers
    asm volatile("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    if ((kept & 6U) != 6U) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1U << 5U) != 0;
}

const std::array kScanners = {kScalar, kSse2, kAvx2};
const std::size_t kRunning = has_avx2() ? 3 : 2;

#else

const std::array kScanners = {kScalar};
const std::size_t kRunning = 1;

#endif

}  // namespace

const Scanner& scanner() noexcept { return kScanners[kRunning - 1]; }

std::span<const Scanner> scanners() noexcept { return std::span(kScanners).first(kRunning); }

}  // namespace penstock::http1
