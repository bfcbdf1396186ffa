#include "net/process.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace penstock {

int ProcessWatch::start(pid_t pid) noexcept {
    // glibc has pidfd_open() from 2.36 on. The fd is close-on-exec.
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd.is_open()) return -errno;
    int error = reactor_.watch_own(pidfd.get(), *this);
    if (error == 0)
        pidfd_ = std::move(pidfd);
    else
        failed_call_ = reactor_.backend().failed_call();
    return error;
}

void ProcessWatch::on_ready(Ready) noexcept {
    end();
    observer_.on_exited();
}

void ProcessWatch::end() noexcept {
    if (!pidfd_.is_open()) return;
    reactor_.forget_own(pidfd_.get());
    pidfd_.reset();
}

}  // namespace penstock
