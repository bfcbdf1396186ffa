// Time as the whole of core measures it: CLOCK_MONOTONIC in nanoseconds, the clock behind
// Python's time.monotonic(), so that a TimePoint and loop.time() are the same number.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace penstock {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

constexpr TimePoint kNever = TimePoint::max();

namespace detail {
inline TimePoint read_clock(clockid_t id) noexcept {
    timespec ts;
    clock_gettime(id, &ts);
    return TimePoint(std::chrono::seconds(ts.tv_sec) + Duration(ts.tv_nsec));
}
}  // namespace detail

// The exact time: about 20 ns a call.
inline TimePoint now() noexcept { return detail::read_clock(CLOCK_MONOTONIC); }

// The time at the kernel's last tick, 1 to 10 ms behind now() and never ahead of it: about 5 ns
// a call, cheap enough to ask after every callback.
inline TimePoint coarse_now() noexcept { return detail::read_clock(CLOCK_MONOTONIC_COARSE); }

}  // namespace penstock
