// A listening socket on the loop's thread: takes in the connections that wait, a bounded number
// at each event, so that a flood of them leaves the others their turn.
//
// Where the process or the system is out of descriptors or memory the kernel keeps reporting the
// socket as ready: the listener then stops by itself and says so, and its owner calls start()
// again after a while. The fd is borrowed. Every callback may destroy the listener.
#pragma once

#include <cstddef>

#include "base/unique_fd.h"
#include "net/address.h"
#include "reactor/backend.h"

namespace penstock {

class Listener final : private Watcher {
public:
    class Observer {
    public:
        // Non-blocking and not inherited.
        virtual void on_accepted(UniqueFd fd, const Address& peer) noexcept = 0;
        // EMFILE, ENFILE, ENOBUFS or ENOMEM; the listener has stopped.
        virtual void on_exhausted(int error) noexcept = 0;
        virtual void on_error(int error) noexcept = 0;

    protected:
        ~Observer() = default;
    };

    Listener(Backend& backend, int fd, std::size_t accepts_a_turn, Observer& observer) noexcept
        : backend_(backend), observer_(observer), accepts_a_turn_(accepts_a_turn), fd_(fd) {}
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    int fd() const noexcept { return fd_; }
    bool is_listening() const noexcept { return is_listening_; }
    int start() noexcept;  // 0, or -errno where the kernel won't watch the fd
    void stop() noexcept;

private:
    void on_ready(Ready events) noexcept override;

    Backend& backend_;
    Observer& observer_;
    std::size_t accepts_a_turn_;
    bool* is_gone_ = nullptr;  // of the on_ready() that is running
    int fd_;
    bool is_listening_ = false;
};

}  // namespace penstock
