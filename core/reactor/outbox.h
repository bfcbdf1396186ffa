// Small writes of a turn, kept for a moment so that those of several fds leave one behind the
// other: where each is sent as it is written, with work between, each finds its reader asleep, and
// to wake up another core is most of what it costs. Kept bytes count as sent.
//
// Something is kept only within a turn, and only while more is about to run in it; it leaves at
// the end of the turn, or behind the entry during which kMostTime passes. So a program that does
// one thing at a time sends at once, and what is written waits for one callback of somebody else's
// at the most, and only for one that was due already.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <vector>

#include "base/clock.h"

namespace penstock {

class Reactor;

class Outbox {
public:
    class Writer {
    public:
        // What was kept for it has to leave now.
        virtual void send_kept(std::span<const std::byte> bytes) noexcept = 0;

    protected:
        ~Writer() = default;
    };

    static constexpr std::size_t kMostAWrite = std::size_t{8} * 1024;
    static constexpr std::size_t kMostBytes = std::size_t{64} * 1024;
    static constexpr Duration kMostTime = std::chrono::microseconds(250);

    // From here to close() `reactor` runs turns.
    void open(const Reactor& reactor) noexcept { reactor_ = &reactor; }
    void close() noexcept {
        flush();
        reactor_ = nullptr;
    }

    bool is_open() const noexcept { return reactor_ != nullptr && !is_flushing_; }
    bool empty() const noexcept { return entries_.empty(); }
    bool is_due() const noexcept { return !entries_.empty() && now() - since_ >= kMostTime; }

    // False where the writer has to send them itself, behind what take() gives. What it keeps for
    // one writer is in one piece: it takes the last one's further bytes, else take() comes first.
    bool keep(Writer& writer, std::span<const iovec> pieces, std::size_t size) noexcept;
    bool is_last(const Writer& writer) const noexcept {
        return !entries_.empty() && entries_.back().writer == &writer;
    }
    // What was kept for it, which is no longer; valid until the next keep().
    std::span<const std::byte> take(const Writer& writer) noexcept;
    // All of it leaves. In a child of fork() nothing does: it is the parent's to send.
    void flush() noexcept;

private:
    struct Entry {
        Writer* writer;  // nullptr: taken
        std::size_t begin;
        std::size_t size;
    };

    const Reactor* reactor_ = nullptr;
    std::vector<Entry> entries_;
    std::vector<std::byte> bytes_;
    TimePoint since_{};
    unsigned forks_ = 0;
    bool is_flushing_ = false;
};

}  // namespace penstock
