// Backend over level-triggered epoll(7).
//
// An fd that its user closed without a word has left the epoll set by itself, and its number
// may mean another file by now: a MOD that fails with ENOENT therefore becomes an ADD, and a DEL
// that finds nothing is no error.
//
// Such a MOD costs as much as a recv(2), and nearly always finds what was there. So where a watch
// only goes on (keep_watching) it is put off. In a loop that has much to do the fd's next event
// comes first, and tells as much: it wakes whoever waits, who looks at the file anew.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <vector>

#include "base/fork.h"
#include "base/unique_fd.h"
#include "reactor/backend.h"

namespace penstock {

class EpollBackend final : public Backend {
public:
    EpollBackend();  // throws std::system_error naming epoll_create1

    std::string_view name() const noexcept override { return "epoll"; }
    int watch(int fd, Ready interest, Watcher& watcher) noexcept override;
    int watch_borrowed(int fd, Ready interest, Watcher& watcher) noexcept override {
        return watch(fd, interest, watcher);
    }
    bool keep_watching(int fd, Ready interest, const Watcher& watcher) noexcept override;
    void forget(int fd) noexcept override;
    std::size_t watched() const noexcept override { return watched_; }
    int wait(Duration timeout) noexcept override;
    const char* failed_call() const noexcept override { return failed_call_; }
    void deliver(std::size_t index) noexcept override;

    // The epoll itself, which can be read when a wait would bring something; or -errno, in a child
    // of fork() that gets none of its own.
    int fd() noexcept;

    // Looks at the numbers that a wait of `timeout` must not leave unchecked. For how long it may
    // wait then: less, where the kernel has no room for a new file and is to be asked again.
    Duration check_numbers(Duration timeout) noexcept;

private:
    struct Slot {
        Watcher* watcher = nullptr;
        std::uint32_t generation = 0;
        Ready interest = Ready::kNone;
        bool is_unchecked = false;  // the number may mean another file than the watched one
        bool is_queued = false;     // in unchecked_
        std::uint32_t unchecked_since = 0;
    };
    static constexpr int kEventsAtOnce = 256;
    // A loop that never sleeps checks what so many waits have brought no event of.
    static constexpr std::uint32_t kMostWaitsUnchecked = 64;
    static constexpr Duration kUntilThereIsRoom = std::chrono::milliseconds(10);

    int control(int operation, int fd, const Slot& slot) noexcept;
    int check_number(int fd) noexcept;
    int collect(Duration timeout) noexcept;
    int leave_parent_behind() noexcept;

    UniqueFd epoll_;
    FileId id_;                   // of epoll_
    std::vector<Slot> slots_;     // by fd
    std::vector<int> unchecked_;  // fds, some of which have been checked meanwhile
    std::uint32_t waits_ = 0;
    std::size_t watched_ = 0;
    const char* failed_call_ = "epoll_ctl";
    bool has_pwait2_ = true;
    bool is_parents_ = false;  // epoll_ is: this is a child of fork()
    std::array<epoll_event, kEventsAtOnce> events_;
    AtFork at_fork_{[this] { is_parents_ = true; }};
};

}  // namespace penstock
