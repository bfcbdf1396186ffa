// How the reactor learns from the kernel that an fd can be read or written.
//
// Contract. All calls come from the loop's thread. A Watcher is borrowed: it must be forgotten
// before it dies. The owner of an fd calls forget() before it closes it. An event that was
// collected for an fd and is stale by the time of its turn (the fd forgotten, or its number
// given to another file since) is not delivered: every registration has a generation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "reactor/outbox.h"

namespace penstock {

enum class Ready : std::uint8_t { kNone = 0, kRead = 1, kWrite = 2, kError = 4 };

constexpr Ready operator|(Ready a, Ready b) noexcept {
    return static_cast<Ready>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr Ready operator&(Ready a, Ready b) noexcept {
    return static_cast<Ready>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}
constexpr bool has(Ready set, Ready what) noexcept { return (set & what) != Ready::kNone; }

class Watcher : public Outbox::Writer {
public:
    // What the fd is ready for. kError comes with both kRead and kWrite: whoever tries learns
    // the reason from the call.
    virtual void on_ready(Ready events) noexcept = 0;
    void send_kept(std::span<const std::byte>) noexcept override {}

protected:
    ~Watcher() = default;
};

class Backend {
public:
    virtual ~Backend() = default;
    virtual std::string_view name() const noexcept = 0;

    // Watches `fd` for `interest` from now on, instead of what was asked before; kNone keeps
    // nothing registered, unless another watcher has taken the fd over. 0, or -errno (EBADF, EPERM
    // for a regular file, ENOMEM, ENOSPC).
    virtual int watch(int fd, Ready interest, Watcher& watcher) noexcept = 0;
    // The same for a file of the program's, which may close it without a word: its peer then
    // hears of that at once, and nothing else comes of it.
    virtual int watch_borrowed(int fd, Ready interest, Watcher& watcher) noexcept = 0;
    // `watcher` goes on to watch `fd` for `interest`, as watch_borrowed() was told last. Whether
    // the number still means the same file is looked at later: before a wait sleeps, or after some
    // that do not, unless an event has come by then. False, with nothing done, where another
    // watcher has taken the fd over or the interest was another.
    virtual bool keep_watching(int fd, Ready interest, const Watcher& watcher) noexcept = 0;
    // Ends the watch; no event of `fd` is delivered any more. Nothing happens where none is.
    virtual void forget(int fd) noexcept = 0;
    virtual std::size_t watched() const noexcept = 0;  // fds with an interest

    // Collects events, waiting at most `timeout` (Duration::max(): for ever) for the first.
    // Touches no Python state, so that the host may release its lock around it. The number of
    // events, or -errno: EINTR, and what no second try would mend.
    virtual int wait(Duration timeout) noexcept = 0;
    // The system call that the last error of watch() or wait() came from; nullptr where it was
    // none, but memory of ours that there was none of.
    virtual const char* failed_call() const noexcept = 0;
    // Delivers the event at `index` of those that the last wait collected.
    virtual void deliver(std::size_t index) noexcept = 0;

    // Something was written, ended or registered that may make an fd ready at once, be it the
    // peer's in this very process: the next wait should not be long in coming.
    void expect_events() noexcept { expects_events_ = true; }
    bool take_expectation() noexcept { return std::exchange(expects_events_, false); }

    // What is written in a turn of the reactor that uses this backend.
    Outbox& outbox() noexcept { return outbox_; }

private:
    Outbox outbox_;
    bool expects_events_ = false;
};

}  // namespace penstock
