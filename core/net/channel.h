// An fd that the loop's thread watches, and what waits to leave through it. Stream and
// DatagramChannel say what that is.
//
// Every callback may do anything to the channel, also destroy it. The fd is either owned, and
// then closed by the destructor, or borrowed: its owner calls detach() before it closes it.
// Whoever derives calls detach() in its own destructor, while its queue is still there.
#pragma once

#include <cstddef>

#include "base/unique_fd.h"
#include "reactor/backend.h"

namespace penstock {

class Channel : protected Watcher {
public:
    class Observer {
    public:
        // Comes at most once a turn: an observer that reads a bounded amount a call leaves the
        // other channels their turn.
        virtual void on_readable() noexcept = 0;
        // What was queued has left; queued() says how much still waits.
        virtual void on_written() noexcept = 0;
        // Bytes that counted as sent are queued now: the kernel has not taken them.
        virtual void on_queued() noexcept {}
        // The kernel refuses what was queued or kept; the error is an errno.
        virtual void on_write_error(int error) noexcept = 0;

    protected:
        ~Observer() = default;
    };

    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    virtual ~Channel();

    int fd() const noexcept { return fd_; }  // -1 once detached
    bool is_reading() const noexcept { return has(interest_, Ready::kRead); }
    bool is_writing() const noexcept { return has(interest_, Ready::kWrite); }
    // Bytes that wait to leave.
    virtual std::size_t queued() const noexcept = 0;

    // 0, or -errno where the kernel won't watch the fd.
    int start_reading() noexcept { return watch(interest_ | Ready::kRead); }
    void stop_reading() noexcept { watch(interest_ & Ready::kWrite); }
    // The fd is left to another watcher: a duplicate of our own is watched from now on, as an fd
    // has one watcher. 0, or -errno.
    int move_to_duplicate() noexcept;
    // What the outbox has of it leaves now. 0, or -errno where the connection is lost.
    virtual int settle() noexcept { return 0; }
    // Drops what is queued, and waits no more until the fd takes something.
    virtual void discard() noexcept = 0;
    // No callback comes any more, and the fd is its owner's alone; what is queued is dropped.
    virtual void detach() noexcept = 0;

protected:
    Channel(Backend& backend, int borrowed_fd, Observer& observer) noexcept
        : backend_(backend), observer_(observer), fd_(borrowed_fd) {}
    Channel(Backend& backend, UniqueFd fd, Observer& observer) noexcept
        : backend_(backend), observer_(observer), fd_(fd.get()), owned_(std::move(fd)) {}

    Observer& observer() const noexcept { return observer_; }
    Outbox& outbox() const noexcept { return backend_.outbox(); }
    void expect_events() noexcept {
        if (fd_ >= 0) backend_.expect_events();  // else it may be gone
    }
    int watch_writing() noexcept { return watch(interest_ | Ready::kWrite); }
    void stop_writing() noexcept { watch(interest_ & Ready::kRead); }
    void forget() noexcept;
    // The fd takes more of what is queued.
    virtual void flush() noexcept = 0;

private:
    void on_ready(Ready events) noexcept final;
    int watch(Ready interest) noexcept;

    Backend& backend_;
    Observer& observer_;
    bool* is_gone_ = nullptr;  // of the on_ready() that is running
    int fd_;
    UniqueFd owned_;
    Ready interest_ = Ready::kNone;
};

}  // namespace penstock
