// One loop: ready queue, timers, backend and wake-up, put together into turns.
//
// Everything belongs to the loop's thread but post() and wake(), which any thread may call.
//
// A turn asks the backend and the timers, runs the entries that were ready by then, what the
// backend brings and the timers that are due: asyncio's order, which programs rely on. Where
// nothing was ready, what the completions have made ready follows in the same turn. The kernel is
// asked in every turn while any fd of the user is watched, else every kTurnsBetweenPolls turns. A
// turn that runs for longer than kSlice is cut: the kernel and the timers are asked, what they
// bring runs first, then the rest, so that a busy queue starves neither I/O nor timers nor signals.
// Whoever is told of an fd again and again must wait then until what it has caused the last time
// has run, as it would have without the cut: ReadyQueue::has_run() tells.
//
// The host is whoever runs the words:
//     void run(Word)            runs one entry and drops it
//     bool stopping()           the loop ends after this turn
//     int wait(Backend&, Duration)   backend.wait(), with the host's lock released around it
//     bool interrupted()        after a wait: handles pending signals; true ends the run at once
//     Duration clock_shift()    how far the clock that timers go by is ahead of now(); may fail
//     bool failed()             an entry ended the run at once: what is left stays for the next run
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "reactor/backend.h"
#include "reactor/choice.h"
#include "reactor/mailbox.h"
#include "reactor/ready_queue.h"
#include "reactor/timer_heap.h"
#include "reactor/wakeup.h"
#include "reactor/word.h"

namespace penstock {

class Reactor {
public:
    explicit Reactor(std::unique_ptr<Backend> backend);  // throws std::system_error
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    Backend& backend() noexcept { return *backend_; }
    ReadyQueue& ready() noexcept { return ready_; }
    TimerHeap& timers() noexcept { return timers_; }
    Chooser& chooser() noexcept { return chooser_; }

    // The time at which this turn began, at most one kernel tick behind: for records and
    // statistics, not for deadlines.
    TimePoint turn_time() const noexcept { return turn_time_; }

    // For what has to run: a wake that got lost would leave its task waiting for ever, so where
    // memory is out this throws, which ends the process. try_push() is for what can be refused:
    // false, with nothing changed, where memory is out.
    void push(Word word) { ready_.push(word); }
    bool try_push(Word word) noexcept { return ready_.try_push(word); }
    // A word that an event has made ready, from within its delivery: it runs as soon as that is
    // over.
    void push_completed(Word word) { completed_.push_back(word); }

    void post(Word word) {
        mailbox_.post(word);
        wakeup_.signal();
    }
    void wake() noexcept { wakeup_.signal(); }

    // An fd that does not make the loop look at the kernel in every turn: it belongs to the loop.
    int watch_own(int fd, Watcher& watcher) noexcept;
    void forget_own(int fd) noexcept;

    // Runs turns until the host is stopping or interrupted.
    template <class Host>
    void run(Host& host) {
        do {
            if (!collect(host)) return;
            run_turn(host);
            if (host.failed()) return;
        } while (!host.failed() && (!host.stopping() || is_cut_));
    }

    // Gives every word that is left to `drop`, which may add more.
    template <class Drop>
    void drain(Drop drop) {
        for (;;) {
            if (!mailbox_.empty())
                for (Word word : mailbox_.collect()) drop(word);
            if (!completed_.empty() || !due_.empty()) {
                for (auto* words : {&completed_, &due_})
                    for (Word word : std::exchange(*words, {})) drop(word);
            } else if (!ready_.empty()) {
                drop(ready_.pop());
            } else if (!timers_.empty()) {
                drop(timers_.pop());
            } else {
                return;
            }
        }
    }

    template <class Visit>
    void visit(Visit visit_word) const {
        for (const auto* words : {&completed_, &due_})
            for (Word word : *words)
                if (word != kNoWord) visit_word(word);
        for (std::size_t i = 0; i < ready_.size(); ++i) visit_word(ready_.peek(i));
        timers_.visit(visit_word);
    }

private:
    static constexpr Word kNoWord = 0;
    static constexpr unsigned kTurnsBetweenPolls = 16;
    // How many entries run between two looks at the coarse clock (11 ns), and how many turns.
    static constexpr unsigned kEntriesBetweenLooks = 4;
    // Two ticks of the coarse clock at 250 Hz; with one callback that overruns it this stays
    // below the 50 ms after which people notice.
    static constexpr Duration kSlice = std::chrono::milliseconds(8);
    // A timer this far away can't be due, whatever the coarse clock hides (10 ms at 100 Hz).
    static constexpr Duration kCoarseLag = std::chrono::milliseconds(12);

    template <class Host>
    bool collect(Host& host) {
        bool idle = ready_.empty() && completed_.empty() && due_.empty() && !host.stopping();
        events_ = 0;
        if (++turns_since_poll_ % kEntriesBetweenLooks == 0 || !timers_.empty())
            turn_time_ = std::max(turn_time_, coarse_now());
        if (idle || is_cut_ || backend_->watched() > own_ ||
            turns_since_poll_ >= kTurnsBetweenPolls || turn_time_ - polled_ >= kSlice ||
            !mailbox_.empty()) {
            if (!poll(host, idle)) return false;
        }
        if (timers_.empty()) return true;
        shift_ = host.clock_shift();
        if (host.failed()) return false;
        if (timers_.next() - (turn_time_ + shift_) < kCoarseLag) collect_due();
        return true;
    }

    template <class Host>
    bool poll(Host& host, bool idle) {
        turns_since_poll_ = 0;
        Duration timeout = Duration::zero();
        if (idle) {
            if (!timers_.empty()) {
                shift_ = host.clock_shift();
                if (host.failed()) return false;
            }
            timeout = time_to_next_timer();
            wakeup_.prepare();
            if (!mailbox_.empty()) timeout = Duration::zero();
        }
        int count = host.wait(*backend_, timeout);
        if (idle) wakeup_.done();
        turn_time_ = idle ? now() : std::max(turn_time_, coarse_now());
        polled_ = turn_time_;
        if (host.interrupted()) return false;
        events_ = static_cast<std::size_t>(std::max(count, 0));
        if (!mailbox_.empty())
            for (Word word : mailbox_.collect()) due_.push_back(word);
        return true;
    }

    template <class Host>
    void run_turn(Host& host) {
        std::size_t ready = ready_.size();
        if (std::exchange(is_cut_, false)) {
            // What was cut short runs on behind what has been collected since.
            ready = left_;
            if (run_completed(host))
                run_ready(host, ready);
            else
                left_ = ready;
        } else if (ready == 0) {
            if (run_completed(host) && !host.stopping()) run_ready(host, ready_.size());
        } else if (run_ready(host, ready)) {
            run_completed(host);
        }
    }

    // Runs the first `count` entries; false where the turn is over.
    template <class Host>
    bool run_ready(Host& host, std::size_t count) {
        for (std::size_t left = count; left > 0;) {
            host.run(ready_.take(chooser_.next(Choice::kReady, left)));
            --left;
            if (host.failed()) [[unlikely]]
                return false;
            if (left % kEntriesBetweenLooks == 1 && coarse_now() - polled_ >= kSlice) [[unlikely]] {
                is_cut_ = true;
                left_ = left;
                return false;
            }
        }
        return true;
    }

    // What the kernel and the timers have brought; false where the turn is over. Events that are
    // not delivered come again with the next wait, for the backend reports states.
    template <class Host>
    bool run_completed(Host& host) {
        run_words(host, completed_, false);  // a run that failed has left them
        if (std::size_t events = std::exchange(events_, 0); events > 0) {
            bool is_fifo = chooser_.is_fifo();
            if (!is_fifo) [[unlikely]]
                order_events(events);
            for (std::size_t i = 0; i < events && !host.failed(); ++i) {
                backend_->deliver(is_fifo ? i : order_[i]);
                run_words(host, completed_, false);
            }
            if (host.interrupted()) return false;
        }
        return run_words(host, due_, true) && !host.failed();
    }

    // Those that do not run stay: for the next run, or where `may_cut`, for the next turn.
    template <class Host>
    bool run_words(Host& host, std::vector<Word>& words, bool may_cut) {
        if (words.empty()) [[likely]]
            return true;
        std::size_t i = 0;
        while (i < words.size() && !host.failed() && !is_cut_) {
            host.run(std::exchange(words[i], kNoWord));  // visit() may come meanwhile
            ++i;
            if (may_cut && i % kEntriesBetweenLooks == 1 && coarse_now() - polled_ >= kSlice)
                [[unlikely]] {
                is_cut_ = i < words.size();
                left_ = 0;
            }
        }
        words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(i));
        return !is_cut_;
    }

    void order_events(std::size_t count);
    void take_due(std::vector<Word>& due) noexcept;
    void collect_due();
    Duration time_to_next_timer() noexcept;

    std::unique_ptr<Backend> backend_;
    Wakeup wakeup_;
    Mailbox mailbox_;
    ReadyQueue ready_;
    TimerHeap timers_;
    Chooser chooser_;
    std::vector<Word> completed_;     // by the event that is delivered
    std::vector<Word> due_;           // timers, and what other threads have posted
    std::vector<std::size_t> order_;  // of events, where a chooser is asked
    std::size_t events_ = 0;          // of the last wait, that are not delivered yet
    std::size_t own_ = 0;             // watched fds that are the loop's own
    std::size_t left_ = 0;            // entries of a batch that was cut
    TimePoint turn_time_ = now();
    TimePoint polled_ = turn_time_;
    Duration shift_ = Duration::zero();  // deadlines are times of now() + shift_
    unsigned turns_since_poll_ = 0;
    bool is_cut_ = false;
};

}  // namespace penstock
