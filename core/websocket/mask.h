// The masking of a client's payload: RFC 6455, 5.3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock::websocket {

using MaskKey = std::array<std::uint8_t, 4>;

// The `size` bytes at `from` without their mask to `to`, which may be the same memory; `at` is
// where in the payload they stand.
void unmask(char* to, const char* from, std::size_t size, const MaskKey& key,
            std::uint64_t at) noexcept;

}  // namespace penstock::websocket
