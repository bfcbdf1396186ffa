// The end of a child process, as the kernel tells it: a pidfd, which becomes readable once the
// process is a zombie. Nothing is reaped here: who has started the child does that, and until
// then its number means no other process.
#pragma once

#include <sys/types.h>

#include "base/unique_fd.h"
#include "reactor/reactor.h"

namespace penstock {

class ProcessWatch final : private Watcher {
public:
    class Observer {
    public:
        // Once; may destroy the watch.
        virtual void on_exited() noexcept = 0;

    protected:
        ~Observer() = default;
    };

    ProcessWatch(Reactor& reactor, Observer& observer) noexcept
        : reactor_(reactor), observer_(observer) {}
    ~ProcessWatch() { end(); }
    ProcessWatch(const ProcessWatch&) = delete;
    ProcessWatch& operator=(const ProcessWatch&) = delete;

    // 0, or -errno: ENOSYS before Linux 5.3, EPERM and its like under a seccomp filter, ESRCH
    // where there is no such process, EMFILE.
    int start(pid_t pid) noexcept;
    // The call that start() failed in.
    const char* failed_call() const noexcept { return failed_call_; }

private:
    void on_ready(Ready events) noexcept override;
    void end() noexcept;

    Reactor& reactor_;
    Observer& observer_;
    UniqueFd pidfd_;
    const char* failed_call_ = "pidfd_open";
};

}  // namespace penstock
