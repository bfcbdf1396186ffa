// The clock of a loop: CLOCK_MONOTONIC, unless the program has a time() of its own.
//
// Programs, and tests above all, replace loop.time() on an instance or in a subclass; asyncio's
// timers go by whatever it says. Ours go by the monotonic clock and by how far theirs is ahead of
// it, which is asked in every turn that has timers.
#pragma once

#include "loop/loop.h"

namespace penstock::py {

// A time of loop.time() as the timers have it.
TimePoint time_point(double seconds) noexcept;

// What loop.time() says. False with an exception set where a replacement raises one.
bool read_clock(Loop* loop, double& seconds) noexcept;

// How far the program's own clock is ahead of the monotonic one. What it raises goes to
// loop->failure and ends the run.
Duration clock_shift(Loop* loop) noexcept;

}  // namespace penstock::py
