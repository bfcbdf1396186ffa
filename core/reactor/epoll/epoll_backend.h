// Backend over level-triggered epoll(7).
//
// An fd that its user closed without a word has left the epoll set by itself, and its number
// may mean another file by now: a MOD that fails with ENOENT therefore becomes an ADD, and a DEL
// that finds nothing is no error.
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
    void forget(int fd) noexcept override;
    std::size_t watched() const noexcept override { return watched_; }
    int wait(Duration timeout) noexcept override;
    const char* failed_call() const noexcept override { return failed_call_; }
    void deliver(std::size_t index) noexcept override;

private:
    struct Slot {
        Watcher* watcher = nullptr;
        std::uint32_t generation = 0;
        Ready interest = Ready::kNone;
    };
    static constexpr int kEventsAtOnce = 256;

    int control(int operation, int fd, const Slot& slot) noexcept;
    int leave_parent_behind() noexcept;

    UniqueFd epoll_;
    std::vector<Slot> slots_;  // by fd
    std::size_t watched_ = 0;
    const char* failed_call_ = "epoll_ctl";
    bool has_pwait2_ = true;
    bool is_parents_ = false;  // epoll_ is: this is a child of fork()
    std::array<epoll_event, kEventsAtOnce> events_;
    AtFork at_fork_{[this] { is_parents_ = true; }};
};

}  // namespace penstock
