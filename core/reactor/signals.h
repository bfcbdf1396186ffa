// Signals as the loop sees them: whoever handles a signal (CPython's C handler, by
// signal.set_wakeup_fd) writes its number as one byte to write_fd(), and the loop reads the
// numbers in a turn of its own, where everything is allowed. The pair is a socket pair, as
// CPython asks for an fd that does not block. A child of fork() has a pair of its own behind the
// same numbers: its signals are none of its parent's.
#pragma once

#include <functional>

#include "base/fork.h"
#include "base/unique_fd.h"
#include "reactor/backend.h"

namespace penstock {

class Signals final : public Watcher {
public:
    using Sink = std::function<void(int signal_number)>;

    explicit Signals(Sink sink);  // throws std::system_error naming socketpair

    int read_fd() const noexcept { return read_end_.get(); }
    int write_fd() const noexcept { return write_end_.get(); }
    void on_ready(Ready events) noexcept override;

private:
    void leave_parent_behind() noexcept;

    Sink sink_;
    UniqueFd read_end_;
    UniqueFd write_end_;
    FileId read_file_, write_file_;
    AtFork at_fork_{[this] { leave_parent_behind(); }};
};

}  // namespace penstock
