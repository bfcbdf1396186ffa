#include "reactor/uring/uring_backend.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <system_error>

namespace penstock {
namespace {

// What completions carry that are of no slot; a slot's carry its fd and the request's number.
constexpr std::uint64_t kNobody = ~std::uint64_t{0};
constexpr std::uint64_t kBorrowed = kNobody - 1;

std::uint64_t tag(std::uint32_t fd, std::uint32_t request) noexcept {
    return fd | (static_cast<std::uint64_t>(request) << 32);
}

unsigned poll_interest(Ready interest) noexcept {
    unsigned events = 0;
    if (has(interest, Ready::kRead)) events |= POLLIN | POLLRDHUP;
    if (has(interest, Ready::kWrite)) events |= POLLOUT;
    return events;
}

constexpr Duration kForEver = std::chrono::seconds(INT_MAX);

__kernel_timespec timespec_of(Duration timeout) noexcept {
    // For ever too is said in seconds: without a timeout liburing would wait on where a signal
    // has interrupted a call that submitted something.
    if (timeout >= kForEver) return {INT_MAX, 0};
    auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
    return {seconds.count(), (timeout - seconds).count()};
}

}  // namespace

UringBackend::UringBackend() {
    if (int error = open_ring(); error != 0)
        throw std::system_error(-error, std::generic_category(), failed_call_);
}

UringBackend::~UringBackend() { close_ring(); }

// Disabled at first: whoever enables it is the thread that may use it.
int UringBackend::open_ring() noexcept {
    io_uring_params params{};
    params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                   IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
    params.cq_entries = kCompletions;
    failed_call_ = "io_uring_setup";
    int error = ::io_uring_queue_init_params(kSubmissions, &ring_, &params);
    if (error != 0) return error;
    is_open_ = true;
    id_ = FileId::of(ring_.ring_fd);
    return 0;
}

// The files of its requests are let go soon afterwards, by another thread of the kernel's. Of a
// ring that is the parent's only this process' share goes.
void UringBackend::close_ring() noexcept {
    // A daemon has closed all that it inherited: then the number means something else.
    if (is_parents_ && is_open_ && FileId::of(ring_.ring_fd) != id_) ring_.ring_fd = -1;
    if (std::exchange(is_open_, false)) ::io_uring_queue_exit(&ring_);
    is_enabled_ = is_parents_ = is_borrowed_polled_ = false;
    for (std::size_t index = 0; index < slots_.size(); ++index) {
        Slot& slot = slots_[index];
        ++slot.request;
        slot.requested = Ready::kNone;
        slot.is_stale = false;
        if (slot.interest != Ready::kNone) queue(index);
    }
}

// Before anything else is opened, which might be given the number of a ring that a daemon closed.
void UringBackend::leave_parent_behind() noexcept {
    if (is_parents_) [[unlikely]]
        close_ring();
}

// A ring that this thread may use. 0, or -errno: the next use tries again.
int UringBackend::renew() noexcept {
    if (!is_open_)
        if (int error = open_ring(); error != 0) return error;
    if (!is_enabled_) {
        int error = ::io_uring_enable_rings(&ring_);
        failed_call_ = "io_uring_register";
        if (error != 0) return error;
        is_enabled_ = true;
        int slack = ::prctl(PR_GET_TIMERSLACK);
        timer_slack_ = std::chrono::nanoseconds(std::max(slack, 0));
        // What had the number was closed without a word, by a daemon.
        if (is_requested(ring_.ring_fd)) drop(static_cast<std::size_t>(ring_.ring_fd));
    }
    return 0;
}

// False where memory is out.
bool UringBackend::reserve(std::size_t index) noexcept {
    if (index < slots_.size()) return true;
    std::size_t size = std::max(index + 1, slots_.size() * 2);
    try {
        changed_.reserve(size);  // so that queue() always has room
        slots_.resize(size);
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

bool UringBackend::is_requested(int fd) const noexcept {
    auto index = static_cast<std::size_t>(fd);
    return fd >= 0 && index < slots_.size() && slots_[index].interest != Ready::kNone;
}

// What epoll_ctl(2) would say of the fd; a request would be refused only later, or, of a regular
// file, not at all.
int UringBackend::check(int fd, Ready interest, Watcher& watcher) noexcept {
    struct stat status;
    failed_call_ = "fstat";
    if (::fstat(fd, &status) != 0) return -errno;
    if (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode)) return 0;
    int error = borrowed_.watch(fd, interest, watcher);
    failed_call_ = borrowed_.failed_call();
    borrowed_.forget(fd);
    return error;
}

void UringBackend::queue(std::size_t index) noexcept {
    if (std::exchange(slots_[index].is_queued, true)) return;
    changed_.push_back(static_cast<std::uint32_t>(index));
}

int UringBackend::watch(int fd, Ready interest, Watcher& watcher) noexcept {
    leave_parent_behind();
    if (interest == Ready::kNone) {
        if (!is_requested(fd)) return borrowed_.watch(fd, interest, watcher);
        // As in EpollBackend: the number may be somebody else's already.
        if (slots_[static_cast<std::size_t>(fd)].watcher == &watcher) forget(fd);
        return 0;
    }
    failed_call_ = "fstat";
    if (fd < 0) return -EBADF;
    auto index = static_cast<std::size_t>(fd);
    if (!reserve(index)) {
        failed_call_ = nullptr;
        return -ENOMEM;
    }
    bool is_known = is_requested(fd);
    if (!is_known || slots_[index].watcher != &watcher) {
        if (int error = check(fd, interest, watcher); error != 0) {
            if (is_known && (error == -EBADF || error == -EPERM)) forget(fd);
            return error;
        }
        borrowed_.forget(fd);
        if (!is_known) ++watched_;
        slots_[index].watcher = &watcher;
        ++slots_[index].generation;
        slots_[index].is_stale = true;
    }
    slots_[index].interest = interest;
    if (slots_[index].is_stale || slots_[index].requested != interest) queue(index);
    expect_events();
    return 0;
}

int UringBackend::watch_borrowed(int fd, Ready interest, Watcher& watcher) noexcept {
    leave_parent_behind();
    if (interest == Ready::kNone) return watch(fd, interest, watcher);
    int error = borrowed_.watch(fd, interest, watcher);
    failed_call_ = borrowed_.failed_call();
    if (is_requested(fd) && (error == 0 || error == -EBADF || error == -EPERM))
        drop(static_cast<std::size_t>(fd));
    expect_events();
    return error;
}

void UringBackend::forget(int fd) noexcept {
    leave_parent_behind();
    if (is_requested(fd))
        drop(static_cast<std::size_t>(fd));
    else
        borrowed_.forget(fd);
    expect_events();  // of the peer, when the fd is closed
}

void UringBackend::drop(std::size_t index) noexcept {
    Slot& slot = slots_[index];
    slot.interest = Ready::kNone;
    slot.watcher = nullptr;
    ++slot.generation;
    --watched_;
    withdraw(index);
}

// Ends the request, if there is one, and lets its file go before it returns.
void UringBackend::withdraw(std::size_t index) noexcept {
    Slot& slot = slots_[index];
    if (slot.requested == Ready::kNone) return;
    int error = make_room(1);
    if (error == 0) {
        submit_removal(static_cast<std::uint32_t>(index));
        // Again, for the kernel completes only some requests at a time. The flag alone says too
        // much: a core that brings work raises it afterwards, when we may have done that work
        // already.
        for (int vain = 0; vain < kMostInVain;) {
            unsigned before = ::io_uring_cq_ready(&ring_);
            error = std::min(::io_uring_submit_and_get_events(&ring_), 0);
            if (error == -EINTR) continue;
            if (error != 0 || !kernel_has(IORING_SQ_TASKRUN)) break;
            vain = ::io_uring_cq_ready(&ring_) > before ? 0 : vain + 1;
        }
    }
    // This is not the ring's thread, or the kernel has no memory.
    if (error != 0) close_ring();
}

void UringBackend::submit_removal(std::uint32_t fd) noexcept {
    Slot& slot = slots_[fd];
    io_uring_sqe* removal = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_poll_remove(removal, tag(fd, slot.request));
    removal->user_data = kNobody;
    removal->flags |= IOSQE_CQE_SKIP_SUCCESS;
    slot.requested = Ready::kNone;
    ++slot.request;
}

// For so many submissions; 0, or -errno.
int UringBackend::make_room(unsigned count) noexcept {
    if (::io_uring_sq_space_left(&ring_) >= count) [[likely]]
        return 0;
    failed_call_ = "io_uring_enter";
    int result = ::io_uring_submit(&ring_);
    if (result < 0) return result;
    return ::io_uring_sq_space_left(&ring_) >= count ? 0 : -EAGAIN;
}

// Makes the request of the fd what its slot wants.
void UringBackend::submit_change(std::uint32_t fd) noexcept {
    Slot& slot = slots_[fd];
    if (slot.requested != Ready::kNone && slot.is_stale) submit_removal(fd);
    slot.is_stale = false;
    if (slot.requested == slot.interest) return;
    io_uring_sqe* request = ::io_uring_get_sqe(&ring_);
    if (slot.requested == Ready::kNone) {
        ++slot.request;
        ::io_uring_prep_poll_add(request, static_cast<int>(fd), poll_interest(slot.interest));
        request->user_data = tag(fd, slot.request);
    } else {
        // Where it has just ended its completion comes, and it is made anew.
        ::io_uring_prep_poll_update(request, tag(fd, slot.request), 0, poll_interest(slot.interest),
                                    IORING_POLL_UPDATE_EVENTS);
        request->user_data = kNobody;
        request->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    slot.requested = slot.interest;
}

// What has changed since the last wait; 0, or -errno where the kernel takes no more.
int UringBackend::submit_changes() noexcept {
    std::size_t done = 0;
    int error = 0;
    for (; done < changed_.size(); ++done) {
        error = make_room(2);
        if (error != 0) break;
        slots_[changed_[done]].is_queued = false;
        if (slots_[changed_[done]].interest != Ready::kNone) submit_change(changed_[done]);
    }
    changed_.erase(changed_.begin(), changed_.begin() + static_cast<std::ptrdiff_t>(done));
    if (error != 0 || is_borrowed_polled_ || borrowed_.watched() == 0) return error;
    int fd = borrowed_.fd();
    failed_call_ = borrowed_.failed_call();
    if (fd < 0) return fd;
    error = make_room(1);
    if (error != 0) return error;
    io_uring_sqe* request = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_poll_add(request, fd, POLLIN);
    request->user_data = kBorrowed;
    is_borrowed_polled_ = true;
    return 0;
}

// Whether the kernel has something of the kind that only an io_uring_enter(2) brings.
bool UringBackend::kernel_has(unsigned flags) const noexcept {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) & flags) != 0;
}

// The one call of a turn; 0, or -errno.
int UringBackend::enter(Duration timeout) noexcept {
    failed_call_ = "io_uring_enter";
    int result;
    if (timeout == Duration::zero() || ::io_uring_cq_ready(&ring_) > 0) {
        if (::io_uring_sq_ready(&ring_) == 0 &&
            !kernel_has(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
            return 0;
        result = ::io_uring_submit_and_get_events(&ring_);
    } else {
        // io_uring wakes to the microsecond, and so for each of many timers; epoll_wait(2) takes
        // those together that lie within the thread's slack.
        timeout = std::min(timeout, kForEver) + timer_slack_;
        __kernel_timespec limit = timespec_of(timeout);
        io_uring_cqe* first = nullptr;
        result = ::io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
    }
    return result >= 0 || result == -ETIME ? 0 : result;
}

int UringBackend::wait(Duration timeout) noexcept {
    collected_ = 0;
    leave_parent_behind();
    timeout = borrowed_.check_numbers(timeout);
    for (bool is_again = false;; is_again = true) {
        if (!is_enabled_) [[unlikely]]
            if (int error = renew(); error != 0) return error;
        int error = submit_changes();
        if (error == 0) error = enter(timeout);
        if (error == 0) break;
        if (error != -EEXIST || is_again) return error;
        close_ring();  // another thread's
    }
    collect();
    int borrowed = 0;
    if (std::exchange(is_borrowed_ready_, false)) {
        borrowed = borrowed_.wait(Duration::zero());
        failed_call_ = borrowed_.failed_call();
        if (borrowed < 0) return borrowed;
    }
    return static_cast<int>(collected_) + borrowed;
}

void UringBackend::collect() noexcept {
    unsigned head, taken = 0;
    io_uring_cqe* completion;
    io_uring_for_each_cqe(&ring_, head, completion) {
        if (collected_ == kEventsAtOnce) break;
        ++taken;
        take(*completion);
    }
    ::io_uring_cq_advance(&ring_, taken);
}

void UringBackend::take(const io_uring_cqe& completion) noexcept {
    if (completion.user_data == kNobody) return;
    if (completion.user_data == kBorrowed) {
        is_borrowed_polled_ = false;
        is_borrowed_ready_ = true;
        return;
    }
    auto fd = static_cast<std::uint32_t>(completion.user_data);
    Slot& slot = slots_[fd];
    if (slot.request != completion.user_data >> 32) return;  // it was withdrawn meanwhile
    slot.requested = Ready::kNone;
    // Its number was closed without a word: of such a file nobody hears.
    if (completion.res == -EBADF || slot.interest == Ready::kNone) return;
    queue(fd);
    // Of the thread that asked, which has ended.
    if (completion.res == -ECANCELED) return;
    // Whoever tries learns the reason of any other error.
    auto events =
        completion.res < 0 ? std::uint32_t{POLLERR} : static_cast<std::uint32_t>(completion.res);
    events_[collected_++] = {fd, slot.generation, events};
}

void UringBackend::deliver(std::size_t index) noexcept {
    if (index >= collected_) return borrowed_.deliver(index - collected_);
    const Event& event = events_[index];
    const Slot& slot = slots_[event.fd];
    if (slot.generation != event.generation || slot.watcher == nullptr) return;
    Ready ready = Ready::kNone;
    if (event.events & (POLLIN | POLLRDHUP)) ready = ready | Ready::kRead;
    if (event.events & POLLOUT) ready = ready | Ready::kWrite;
    if (event.events & (POLLERR | POLLHUP | POLLNVAL))
        ready = ready | Ready::kRead | Ready::kWrite | Ready::kError;
    slot.watcher->on_ready(ready);
}

}  // namespace penstock
