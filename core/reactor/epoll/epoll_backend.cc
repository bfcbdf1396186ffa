#include "reactor/epoll/epoll_backend.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <system_error>

namespace penstock {
namespace {

#ifndef SYS_epoll_pwait2
constexpr long SYS_epoll_pwait2 = 441;  // the same on every architecture; Linux 5.11
#endif

std::uint32_t epoll_interest(Ready interest) noexcept {
    std::uint32_t events = 0;
    if (has(interest, Ready::kRead)) events |= EPOLLIN | EPOLLRDHUP;
    if (has(interest, Ready::kWrite)) events |= EPOLLOUT;
    return events;
}

int milliseconds(Duration timeout) noexcept {
    if (timeout == Duration::max()) return -1;
    // Rounded up: waking early would only spin until the timer is due.
    auto count = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    return static_cast<int>(std::min<decltype(count)>(count, INT_MAX));
}

}  // namespace

EpollBackend::EpollBackend() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_.is_open()) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

// A child of fork() shares the parent's epoll: what it withdrew there, the parent would not hear
// of any more. So it makes one of its own, of all that is watched. 0, or -errno: the next use tries
// again.
int EpollBackend::leave_parent_behind() noexcept {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.is_open()) {
        failed_call_ = "epoll_create1";
        return -errno;
    }
    is_parents_ = false;
    for (std::size_t fd = 0; fd < slots_.size(); ++fd) {
        if (slots_[fd].interest == Ready::kNone) continue;
        int error = control(EPOLL_CTL_ADD, static_cast<int>(fd), slots_[fd]);
        // A daemon has closed what it inherited: of such files nobody hears.
        if (error == 0 || error == -EBADF || error == -EPERM) continue;
        is_parents_ = true;
        return error;
    }
    return 0;
}

int EpollBackend::control(int operation, int fd, const Slot& slot) noexcept {
    if (is_parents_) [[unlikely]]
        if (int error = leave_parent_behind(); error != 0) return error;
    epoll_event event{};
    event.events = epoll_interest(slot.interest);
    event.data.u64 =
        static_cast<std::uint32_t>(fd) | (static_cast<std::uint64_t>(slot.generation) << 32);
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return 0;
    failed_call_ = "epoll_ctl";
    return -errno;
}

int EpollBackend::watch(int fd, Ready interest, Watcher& watcher) noexcept {
    failed_call_ = "epoll_ctl";
    if (fd < 0) return -EBADF;
    auto index = static_cast<std::size_t>(fd);
    if (interest == Ready::kNone) {
        // A watcher whose file was closed behind its back may come late, when the number is
        // somebody else's already.
        if (index < slots_.size() && slots_[index].watcher == &watcher) forget(fd);
        return 0;
    }
    if (index >= slots_.size()) {
        try {
            slots_.resize(std::max(index + 1, slots_.size() * 2));
        } catch (const std::bad_alloc&) {
            failed_call_ = nullptr;
            return -ENOMEM;
        }
    }
    Slot& slot = slots_[index];
    Slot wanted = slot;
    wanted.interest = interest;
    if (slot.watcher != &watcher) {
        wanted.watcher = &watcher;
        ++wanted.generation;
    }
    bool known = slot.interest != Ready::kNone;
    int error = control(known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, wanted);
    if (known && error == -ENOENT) error = control(EPOLL_CTL_ADD, fd, wanted);
    if (!known && error == -EEXIST) error = control(EPOLL_CTL_MOD, fd, wanted);
    if (error != 0) {
        // The old registration is void where the kernel no longer knows the file.
        if (known && (error == -EBADF || error == -EPERM)) forget(fd);
        return error;
    }
    if (!known) ++watched_;
    slot = wanted;
    return 0;
}

void EpollBackend::forget(int fd) noexcept {
    auto index = static_cast<std::size_t>(fd);
    if (fd < 0 || index >= slots_.size() || slots_[index].interest == Ready::kNone) return;
    Slot& slot = slots_[index];
    slot.interest = Ready::kNone;
    slot.watcher = nullptr;
    ++slot.generation;
    --watched_;
    control(EPOLL_CTL_DEL, fd, slot);
}

int EpollBackend::wait(Duration timeout) noexcept {
    if (is_parents_) [[unlikely]]
        if (int error = leave_parent_behind(); error != 0) return error;
    int count = -1;
    bool is_whole_milliseconds = timeout == Duration::max() || timeout == Duration::zero();
    if (has_pwait2_ && !is_whole_milliseconds) {
        auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
        timespec ts{static_cast<std::time_t>(seconds.count()),
                    static_cast<long>((timeout - seconds).count())};
        count = static_cast<int>(::syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(),
                                           kEventsAtOnce, &ts, nullptr, 0));
        if (count >= 0 || errno == EINTR) return count < 0 ? -errno : count;
        has_pwait2_ = false;  // before Linux 5.11, or refused by a seccomp filter
    }
    count = ::epoll_wait(epoll_.get(), events_.data(), kEventsAtOnce, milliseconds(timeout));
    failed_call_ = "epoll_wait";
    return count < 0 ? -errno : count;
}

void EpollBackend::deliver(std::size_t index) noexcept {
    const epoll_event& event = events_[index];
    auto fd = static_cast<std::uint32_t>(event.data.u64);
    auto generation = static_cast<std::uint32_t>(event.data.u64 >> 32);
    const Slot& slot = slots_[fd];
    if (slot.generation != generation || slot.watcher == nullptr) return;
    Ready ready = Ready::kNone;
    if (event.events & (EPOLLIN | EPOLLRDHUP)) ready = ready | Ready::kRead;
    if (event.events & EPOLLOUT) ready = ready | Ready::kWrite;
    if (event.events & (EPOLLERR | EPOLLHUP))
        ready = ready | Ready::kRead | Ready::kWrite | Ready::kError;
    slot.watcher->on_ready(ready);
}

}  // namespace penstock
