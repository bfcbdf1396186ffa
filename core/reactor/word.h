// What the ready queue and the timer heap hold: a pointer with a kind in its low bits. Only the
// host that runs the words knows what they point to; the reactor moves them and owns nothing.
#pragma once

#include <cstdint>

namespace penstock {

using Word = std::uintptr_t;

constexpr Word kWordKindMask = 7;  // every object behind a word is aligned to 8 bytes

}  // namespace penstock
