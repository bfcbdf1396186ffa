// A process that does not outlive its parent for long, whatever it is stuck in.
#pragma once

#include <chrono>

namespace penstock {

// From the parent's death on this process has so long to end, and then SIGALRM kills it; zero: for
// ever. Called again, it changes that. The kernel tells of the death by SIGHUP, which says nothing
// else from now on: a terminal sends one to the whole group. 0, or -errno.
int end_when_orphaned(std::chrono::seconds allowed) noexcept;

}  // namespace penstock
