// Ends the loop's wait from another thread: an eventfd(2).
//
// The loop's thread announces with prepare() that it is about to wait, looks once more at what
// other threads may have left, waits, and calls done(). signal() may come from any thread: it
// writes to the eventfd only while a wait is announced, and then only once. A child of fork() has
// an eventfd of its own behind the same number.
#pragma once

#include <atomic>

#include "base/fork.h"
#include "base/unique_fd.h"
#include "reactor/backend.h"

namespace penstock {

class Wakeup final : public Watcher {
public:
    Wakeup();  // throws std::system_error naming eventfd

    int fd() const noexcept { return event_.get(); }
    void prepare() noexcept { is_waiting_.store(true, std::memory_order_seq_cst); }
    void done() noexcept { is_waiting_.store(false, std::memory_order_relaxed); }
    void signal() noexcept;
    void on_ready(Ready events) noexcept override;

private:
    void leave_parent_behind() noexcept;

    UniqueFd event_;
    FileId file_;
    std::atomic<bool> is_waiting_{false};
    AtFork at_fork_{[this] { leave_parent_behind(); }};
};

}  // namespace penstock
