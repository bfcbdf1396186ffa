#include "base/orphan.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>

namespace penstock {
namespace {

// The process's, as signals are; written before the handler stands.
pid_t self = 0;
pid_t parent = 0;
std::atomic<unsigned> seconds{0};
static_assert(std::atomic<unsigned>::is_always_lock_free);

// It needs nothing that a thread which is stuck could hold, an interpreter's lock above all.
void on_hangup(int) {
    unsigned allowed = seconds.load(std::memory_order_relaxed);
    bool is_orphaned = getpid() == self && getppid() != parent;  // a fork has the handler too
    if (!is_orphaned || allowed == 0) return;
    signal(SIGALRM, SIG_DFL);
    alarm(allowed);
}

}  // namespace

int end_when_orphaned(std::chrono::seconds allowed) noexcept {
    constexpr std::chrono::seconds::rep kMost = 1'000'000'000;
    seconds.store(static_cast<unsigned>(std::clamp<decltype(kMost)>(allowed.count(), 0, kMost)),
                  std::memory_order_relaxed);
    if (self == getpid()) return 0;
    self = getpid();
    parent = getppid();
    struct sigaction action {};
    action.sa_handler = on_hangup;
    action.sa_flags = SA_RESTART;
    bool done =
        sigaction(SIGHUP, &action, nullptr) == 0 && prctl(PR_SET_PDEATHSIG, SIGHUP, 0, 0, 0) == 0;
    return done ? 0 : -errno;
}

}  // namespace penstock
