#include "reactor/epoll/epoll_backend.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <system_error>
#include <utility>

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
    id_ = FileId::of(epoll_.get());
}

// A child of fork() shares the parent's epoll: what it withdrew there, the parent would not hear
// of any more. So it makes one of its own, of all that is watched. 0, or -errno: the next use tries
// again.
int EpollBackend::leave_parent_behind() noexcept {
    UniqueFd fresh(::epoll_create1(EPOLL_CLOEXEC));
    int error = errno;
    // A daemon has closed what it inherited: then the number is somebody else's, or the new one.
    if (fresh.get() == epoll_.get() || FileId::of(epoll_.get()) != id_)
        static_cast<void>(epoll_.release());
    epoll_ = std::move(fresh);
    if (!epoll_.is_open()) {
        failed_call_ = "epoll_create1";
        return -error;
    }
    id_ = FileId::of(epoll_.get());
    is_parents_ = false;
    for (std::size_t fd = 0; fd < slots_.size(); ++fd) {
        bool is_own = static_cast<int>(fd) == epoll_.get();  // what had the number is closed
        if (slots_[fd].interest == Ready::kNone || is_own) continue;
        error = control(EPOLL_CTL_ADD, static_cast<int>(fd), slots_[fd]);
        // Of files that it has closed nobody hears.
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

int EpollBackend::fd() noexcept {
    if (is_parents_) [[unlikely]]
        if (int error = leave_parent_behind(); error != 0) return error;
    return epoll_.get();
}

int EpollBackend::watch(int fd, Ready interest, Watcher& watcher) noexcept {
    failed_call_ = "epoll_ctl";
    expect_events();
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
            std::size_t size = std::max(index + 1, slots_.size() * 2);
            unchecked_.reserve(size);  // so that keep_watching() always has room
            slots_.resize(size);
        } catch (const std::bad_alloc&) {
            failed_call_ = nullptr;
            return -ENOMEM;
        }
    }
    Slot& slot = slots_[index];
    Slot wanted = slot;
    wanted.interest = interest;
    wanted.is_unchecked = false;
    if (slot.watcher != &watcher) {
        wanted.watcher = &watcher;
        ++wanted.generation;
    }
    bool known = slot.interest != Ready::kNone;
    int error = control(known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, wanted);
    if (known && error == -ENOENT) {
        ++wanted.generation;  // an event that is collected already was of the file before
        error = control(EPOLL_CTL_ADD, fd, wanted);
    }
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

bool EpollBackend::keep_watching(int fd, Ready interest, const Watcher& watcher) noexcept {
    auto index = static_cast<std::size_t>(fd);
    if (fd < 0 || index >= slots_.size()) return false;
    Slot& slot = slots_[index];
    if (slot.watcher != &watcher || slot.interest != interest) return false;
    expect_events();
    if (!std::exchange(slot.is_unchecked, true)) slot.unchecked_since = waits_;
    if (!std::exchange(slot.is_queued, true)) unchecked_.push_back(fd);
    return true;
}

// Registers the file that the number means now. 0, or -errno where the kernel may have room later.
int EpollBackend::check_number(int fd) noexcept {
    Slot& slot = slots_[static_cast<std::size_t>(fd)];
    int error = control(EPOLL_CTL_MOD, fd, slot);
    if (error == -ENOENT) error = control(EPOLL_CTL_ADD, fd, slot);
    // Closed without a word while somebody waited: nobody hears of such a file.
    if (error == -EBADF || error == -EPERM) {
        forget(fd);
        return 0;
    }
    if (error == 0) slot.is_unchecked = false;
    return error;
}

Duration EpollBackend::check_numbers(Duration timeout) noexcept {
    ++waits_;
    bool sleeps = timeout != Duration::zero();
    if (unchecked_.empty() || (!sleeps && waits_ % kMostWaitsUnchecked != 0)) return timeout;
    std::size_t left = 0;
    for (int fd : unchecked_) {
        Slot& slot = slots_[static_cast<std::size_t>(fd)];
        bool is_due = sleeps || waits_ - slot.unchecked_since >= kMostWaitsUnchecked;
        if (slot.is_unchecked && is_due && check_number(fd) != 0)
            timeout = std::min(timeout, kUntilThereIsRoom);
        slot.is_queued = slot.is_unchecked;
        if (slot.is_queued) unchecked_[left++] = fd;
    }
    unchecked_.resize(left);
    return timeout;
}

void EpollBackend::forget(int fd) noexcept {
    auto index = static_cast<std::size_t>(fd);
    if (fd < 0 || index >= slots_.size() || slots_[index].interest == Ready::kNone) return;
    expect_events();  // of the peer, when the fd is closed
    Slot& slot = slots_[index];
    slot.interest = Ready::kNone;
    slot.watcher = nullptr;
    slot.is_unchecked = false;
    ++slot.generation;
    --watched_;
    control(EPOLL_CTL_DEL, fd, slot);
}

int EpollBackend::wait(Duration timeout) noexcept {
    if (is_parents_) [[unlikely]]
        if (int error = leave_parent_behind(); error != 0) return error;
    // What is there already comes first: the check of a single number costs no more than the
    // question.
    if (unchecked_.size() > 1 && timeout != Duration::zero())
        if (int count = wait(Duration::zero()); count != 0) return count;
    return collect(check_numbers(timeout));
}

int EpollBackend::collect(Duration timeout) noexcept {
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
    Slot& slot = slots_[fd];
    if (slot.generation != generation || slot.watcher == nullptr) return;
    Ready ready = Ready::kNone;
    if (event.events & (EPOLLIN | EPOLLRDHUP)) ready = ready | Ready::kRead;
    if (event.events & EPOLLOUT) ready = ready | Ready::kWrite;
    if (event.events & (EPOLLERR | EPOLLHUP))
        ready = ready | Ready::kRead | Ready::kWrite | Ready::kError;
    // All who wait are woken, and look at the file that the number means.
    if ((ready & slot.interest) == slot.interest) slot.is_unchecked = false;
    slot.watcher->on_ready(ready);
}

}  // namespace penstock
