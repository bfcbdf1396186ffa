// Backend over poll requests of io_uring(7); why, and for whom: docs/design/009-io-uring.md.
//
// Every watched fd has one request in the kernel, which ends with its event and is made anew by
// the next wait: what is still ready then is told again, as by a level-triggered epoll. All that
// changes within a turn goes to the kernel with the one io_uring_enter(2) of the wait, which is
// left out where there is nothing to tell, to wait for or to fetch.
//
// A request keeps its file open whatever becomes of the fd. So forget() withdraws it at once, for
// a close to be one; and what the program may close without a word (watch_borrowed) is left to an
// epoll, whose own fd the ring watches.
//
// The kernel takes requests of one thread only (IORING_SETUP_SINGLE_ISSUER), the one that waits
// first. Another thread that goes on with the loop is refused with EEXIST, and makes a ring of
// its own, as a child of fork() does; all that is watched is then asked for anew.
#pragma once

#include <liburing.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/fork.h"
#include "reactor/backend.h"
#include "reactor/epoll/epoll_backend.h"

namespace penstock {

class UringBackend final : public Backend {
public:
    UringBackend();  // throws std::system_error naming the call
    ~UringBackend() override;
    UringBackend(const UringBackend&) = delete;
    UringBackend& operator=(const UringBackend&) = delete;

    std::string_view name() const noexcept override { return "uring"; }
    int watch(int fd, Ready interest, Watcher& watcher) noexcept override;
    int watch_borrowed(int fd, Ready interest, Watcher& watcher) noexcept override;
    bool keep_watching(int fd, Ready interest, const Watcher& watcher) noexcept override {
        if (!borrowed_.keep_watching(fd, interest, watcher)) return false;
        expect_events();
        return true;
    }
    void forget(int fd) noexcept override;
    std::size_t watched() const noexcept override { return watched_ + borrowed_.watched(); }
    int wait(Duration timeout) noexcept override;
    const char* failed_call() const noexcept override { return failed_call_; }
    void deliver(std::size_t index) noexcept override;

private:
    friend class UringBackendTest;  // does what the kernel does

    struct Slot {
        Watcher* watcher = nullptr;
        std::uint32_t generation = 0;  // of the watcher
        std::uint32_t request = 0;     // the number of the last one
        Ready interest = Ready::kNone;
        Ready requested = Ready::kNone;  // kNone: there is no request in the kernel
        bool is_stale = false;           // it may be of another file than the number means now
        bool is_queued = false;          // in changed_
    };
    struct Event {
        std::uint32_t fd;
        std::uint32_t generation;
        std::uint32_t events;
    };
    static constexpr unsigned kSubmissions = 256;
    static constexpr unsigned kCompletions = 4096;  // more of them wait in the kernel
    static constexpr int kMostInVain = 64;          // calls that bring no completion, one by one
    static constexpr std::size_t kEventsAtOnce = 256;

    int open_ring() noexcept;
    void close_ring() noexcept;
    void leave_parent_behind() noexcept;
    int renew() noexcept;
    bool reserve(std::size_t index) noexcept;
    bool is_requested(int fd) const noexcept;
    int check(int fd, Ready interest, Watcher& watcher) noexcept;
    void queue(std::size_t index) noexcept;
    void drop(std::size_t index) noexcept;
    void withdraw(std::size_t index) noexcept;
    int make_room(unsigned count) noexcept;
    void submit_removal(std::uint32_t fd) noexcept;
    void submit_change(std::uint32_t fd) noexcept;
    int submit_changes() noexcept;
    int enter(Duration timeout) noexcept;
    bool kernel_has(unsigned flags) const noexcept;
    void collect() noexcept;
    void take(const io_uring_cqe& completion) noexcept;

    EpollBackend borrowed_;
    io_uring ring_{};
    FileId id_;  // of the ring
    bool is_open_ = false;
    bool is_enabled_ = false;          // the ring has its thread
    bool is_parents_ = false;          // the ring is: this is a child of fork()
    bool is_borrowed_polled_ = false;  // there is a request for borrowed_'s own fd
    bool is_borrowed_ready_ = false;
    std::vector<Slot> slots_;                  // by fd
    std::vector<std::uint32_t> changed_;       // fds whose request the next wait makes or withdraws
    std::size_t watched_ = 0;                  // in slots_
    std::size_t collected_ = 0;                // in events_; borrowed_'s come after them
    Duration timer_slack_ = Duration::zero();  // of the ring's thread
    const char* failed_call_ = "io_uring_enter";
    std::array<Event, kEventsAtOnce> events_;
    AtFork at_fork_{[this] { is_parents_ = true; }};
};

}  // namespace penstock
