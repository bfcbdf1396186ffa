// How far a part of a message has come that is read as its bytes arrive.
#pragma once

#include <cstdint>

namespace penstock::http1 {

enum class Progress : std::uint8_t { kNeedMore, kDone, kRefused };

}  // namespace penstock::http1
