// One loop: ready queue, timers, backend and wake-up, put together into turns.
//
// Everything belongs to the loop's thread but post() and wake(), which any thread may call.
//
// A turn asks the backend and the timers, runs the entries that were ready by then, what the
// backend brings and the timers that are due: asyncio's order, which programs rely on. Where
// nothing was ready, what the completions have made ready follows in the same turn. The kernel is
// asked in every turn while any fd of the user is watched, else every kTurnsBetweenPolls turns.
// Where it was asked in vain time and again, turns that do nothing but scheduling come between: no
// more than kMostTurnsUnasked and kMostTimeUnasked, so that no event waits for longer. A turn that
// runs for longer than kSlice is cut: the kernel and the timers are asked, what they bring runs
// first, then the rest, so that a busy queue starves neither I/O nor timers nor signals. Whoever is
// told of an fd again and again must wait then until what it has caused the last time has run, as
// it would have without the cut: ReadyQueue::has_run() tells. Where the events of a turn have
// brought kMostBytesATurn already, what they made ready runs before the rest of them is delivered:
// the bytes are used while the caches hold them, and no more than that piles up. A run that
// ends delivers them all: a program that turns the loop by hand, run by run, would else come no
// further than to the first of them, for the next wait begins with it again. Small writes to
// several fds may be kept in the backend's outbox: they leave before the turn is over.
//
// The host is whoever runs the words:
//     void run(Word)            runs one entry and drops it
//     bool stopping()           the loop ends after this turn
//     int wait(Backend&, Duration)   backend.wait(), with the host's lock released around it
//     void wait_failed(int)     the errno for which the backend can't wait: the run ends at once
//     bool interrupted()        after a wait: handles pending signals; true ends the run at once
//     Duration clock_shift()    how far the clock that timers go by is ahead of now(); may fail
//     bool failed()             an entry ended the run at once: what is left stays for the next run
//
// Nothing that has to run gets lost where memory is out: what another thread posts and what an
// event makes ready needs none, and push_without_room() keeps in a list of their own the words that
// the ready queue has no room for.
#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "reactor/backend.h"
#include "reactor/choice.h"
#include "reactor/mailbox.h"
#include "reactor/overflow.h"
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

    // How long a turn may take. Two ticks of the coarse clock at 250 Hz; with one callback that
    // overruns it this stays below the 50 ms after which people notice.
    static constexpr Duration kSlice = std::chrono::milliseconds(8);

    // The time at which this turn began, at most one kernel tick behind: for records and
    // statistics, not for deadlines.
    TimePoint turn_time() const noexcept { return turn_time_; }

    // When the kernel was asked last, as exactly.
    TimePoint polled() const noexcept { return polled_; }

    // False, with nothing changed, where memory is out.
    bool try_push(Word word) noexcept { return ready_.try_push(word); }
    // For what has to run although try_push() failed: a wake that got lost would leave its task
    // waiting for ever. The word is in a list through link_of() until there is room: it may then
    // run behind what is pushed later.
    void push_without_room(Word word, Overflow::LinkOf link_of) noexcept {
        overflow_.push(word, link_of);
    }
    // A word that an event has made ready, from within its delivery, at most kMostAnEvent of them:
    // it runs as soon as that is over.
    void push_completed(Word word) noexcept { completed_.push_back(word); }
    static constexpr std::size_t kMostAnEvent = 2;
    // Whether this turn, or the next one, has something to run behind what runs now.
    bool has_more() const noexcept {
        return !ready_.empty() || delivered_ < events_ || words_left_ > 0 || !letters_.empty();
    }
    // An event has brought so many bytes.
    void received(std::size_t bytes) noexcept { bytes_received_ += bytes; }

    void post(Letter& letter) noexcept {
        mailbox_.post(letter);
        wakeup_.signal();
    }
    void wake() noexcept { wakeup_.signal(); }

    // An fd that does not make the loop look at the kernel in every turn: it belongs to the loop.
    int watch_own(int fd, Watcher& watcher) noexcept;
    void forget_own(int fd) noexcept;

    // Runs turns until the host is stopping or interrupted.
    template <class Host>
    void run(Host& host) {
        outbox_.open(*this);
        run_turns(host);
        outbox_.close();
    }

    // Gives every word that is left to `drop`, which may add more.
    template <class Drop>
    void drain(Drop drop) {
        for (;;) {
            if (!mailbox_.empty()) letters_.append(mailbox_.collect());
            if (!letters_.empty()) {
                drop(letters_.pop());
            } else if (!overflow_.empty()) {
                drop(overflow_.pop());
            } else if (!completed_.empty() || !due_.empty()) {
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
        for (const Letter* each = letters_.first(); each != nullptr; each = each->next)
            visit_word(each->word);
        for (std::size_t i = 0; i < ready_.size(); ++i) visit_word(ready_.peek(i));
        overflow_.visit(visit_word);
        timers_.visit(visit_word);
    }

private:
    static constexpr Word kNoWord = 0;
    static constexpr unsigned kTurnsBetweenPolls = 16;
    // After so many waits that brought nothing, events are what seldom comes.
    static constexpr unsigned kPollsInVain = 16;
    static constexpr unsigned kMostTurnsUnasked = 8;
    static constexpr Duration kMostTimeUnasked = std::chrono::microseconds(50);
    // How many entries run between two looks at the coarse clock (11 ns), and how many turns.
    static constexpr unsigned kEntriesBetweenLooks = 4;
    // What a core's own cache holds beside all else.
    static constexpr std::size_t kMostBytesATurn = std::size_t{256} * 1024;
    // A timer this far away can't be due, whatever the coarse clock hides (10 ms at 100 Hz).
    static constexpr Duration kCoarseLag = std::chrono::milliseconds(12);

    template <class Host>
    void run_turns(Host& host) {
        polls_in_vain_ = 0;
        events_ = delivered_ = 0;
        do {
            if (!collect(host)) return;
            run_turn(host);
            outbox_.flush();
            if (host.failed()) return;
        } while (!host.failed() && (!host.stopping() || is_cut_));
        if (delivered_ < events_ && !host.failed()) deliver_events(host);
    }

    template <class Host>
    bool collect(Host& host) {
        while (!overflow_.empty() && ready_.try_push(overflow_.front()))
            [[unlikely]] overflow_.pop();
        bool is_behind = delivered_ < events_;
        bool idle = ready_.empty() && completed_.empty() && due_.empty() && letters_.empty() &&
                    !is_behind && !host.stopping();
        if (++turns_since_poll_ % kEntriesBetweenLooks == 0 || !timers_.empty())
            turn_time_ = std::max(turn_time_, coarse_now());
        if (is_behind) {
            if (!mailbox_.empty()) letters_.append(mailbox_.collect());
        } else if (idle || is_cut_ || !mailbox_.empty() || is_poll_due()) {
            if (!poll(host, idle)) return false;
        }
        if (timers_.empty()) return true;
        shift_ = host.clock_shift();
        if (host.failed()) return false;
        if (timers_.next() - (turn_time_ + shift_) < kCoarseLag) collect_due();
        return true;
    }

    bool is_poll_due() noexcept {
        if (backend_->watched() <= own_)
            return turns_since_poll_ >= kTurnsBetweenPolls || turn_time_ - polled_ >= kSlice;
        if (backend_->take_expectation()) polls_in_vain_ = 0;
        if (polls_in_vain_ < kPollsInVain) return true;
        turn_time_ = now();
        return turns_since_poll_ >= kMostTurnsUnasked || turn_time_ - polled_ >= kMostTimeUnasked;
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
        polled_ = slice_began_ = turn_time_;
        if (idle || count != 0)
            polls_in_vain_ = 0;
        else if (polls_in_vain_ < kPollsInVain)
            ++polls_in_vain_;
        if (host.interrupted()) return false;
        if (count < 0 && count != -EINTR) [[unlikely]] {
            host.wait_failed(-count);
            return false;
        }
        events_ = static_cast<std::size_t>(std::max(count, 0));
        delivered_ = 0;
        if (!mailbox_.empty()) letters_.append(mailbox_.collect());
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

    // Whether the turn has taken its time; every so many entries only, for it reads a clock.
    bool is_slice_over(std::size_t entries) const noexcept {
        return entries % kEntriesBetweenLooks == 1 && coarse_now() - slice_began_ >= kSlice;
    }

    // Runs the first `count` entries; false where the turn is over.
    template <class Host>
    bool run_ready(Host& host, std::size_t count) {
        for (std::size_t left = count; left > 0;) {
            host.run(ready_.take(chooser_.next(Choice::kReady, left)));
            --left;
            if (outbox_.is_due()) outbox_.flush();
            if (host.failed()) [[unlikely]]
                return false;
            if (is_slice_over(left)) [[unlikely]] {
                is_cut_ = true;
                left_ = left;
                return false;
            }
        }
        return true;
    }

    // What the kernel and the timers have brought; false where the turn is over.
    template <class Host>
    bool run_completed(Host& host) {
        run_words(host, completed_, false);  // a run that failed has left them
        if (delivered_ < events_ && !deliver_events(host)) return false;
        return run_letters(host) && run_words(host, due_, true) && !host.failed();
    }

    // Events that a run leaves behind as it fails come again with the next wait, for the backend
    // reports states.
    template <class Host>
    bool deliver_events(Host& host) {
        if (delivered_ == 0) is_fifo_ = chooser_.is_fifo() || !order_events(events_);
        bytes_received_ = 0;
        if (delivered_ > 0) slice_began_ = coarse_now();
        while (delivered_ < events_ && !host.failed()) {
            std::size_t next = delivered_++;
            backend_->deliver(is_fifo_ ? next : order_[next]);
            run_words(host, completed_, false);
            if (outbox_.is_due()) outbox_.flush();
            if (host.stopping()) continue;
            if (bytes_received_ >= kMostBytesATurn && !ready_.empty()) break;
            if (delivered_ < events_ && is_slice_over(delivered_ + 1)) [[unlikely]] {
                slice_began_ = coarse_now();  // what is ready has one of its own
                break;
            }
        }
        return !host.interrupted();
    }

    // What other threads have posted; false where the turn was cut, and the rest comes in the next.
    template <class Host>
    bool run_letters(Host& host) {
        if (letters_.empty()) [[likely]]
            return true;
        for (std::size_t i = 1; !letters_.empty() && !host.failed() && !is_cut_; ++i) {
            host.run(letters_.pop());
            if (is_slice_over(i)) [[unlikely]] {
                is_cut_ = !letters_.empty();
                left_ = 0;
            }
        }
        return !is_cut_;
    }

    // Those that do not run stay: for the next run, or where `may_cut`, for the next turn.
    template <class Host>
    bool run_words(Host& host, std::vector<Word>& words, bool may_cut) {
        if (words.empty()) [[likely]]
            return true;
        std::size_t i = 0;
        while (i < words.size() && !host.failed() && !is_cut_) {
            words_left_ = words.size() - i - 1;
            host.run(std::exchange(words[i], kNoWord));  // visit() may come meanwhile
            ++i;
            if (outbox_.is_due()) outbox_.flush();
            if (may_cut && is_slice_over(i)) [[unlikely]] {
                is_cut_ = i < words.size();
                left_ = 0;
            }
        }
        words_left_ = 0;
        words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(i));
        return !is_cut_;
    }

    bool order_events(std::size_t count) noexcept;
    void collect_due() noexcept;
    Duration time_to_next_timer() noexcept;

    std::unique_ptr<Backend> backend_;
    Outbox& outbox_;
    Wakeup wakeup_;
    Mailbox mailbox_;
    ReadyQueue ready_;
    TimerHeap timers_;
    Chooser chooser_;
    std::vector<Word> completed_;     // by the event that is delivered
    std::vector<Word> due_;           // timers
    Letters letters_;                 // that other threads have posted
    Overflow overflow_;               // of ready_
    std::vector<std::size_t> order_;  // of events, where a chooser is asked
    std::size_t events_ = 0;          // of the last wait
    std::size_t delivered_ = 0;       // of them
    std::size_t bytes_received_ = 0;  // by those of this turn
    std::size_t own_ = 0;             // watched fds that are the loop's own
    std::size_t left_ = 0;            // entries of a batch that was cut
    std::size_t words_left_ = 0;      // of those that run_words() runs
    TimePoint turn_time_ = now();
    TimePoint polled_ = turn_time_;
    TimePoint slice_began_ = turn_time_;
    Duration shift_ = Duration::zero();  // deadlines are times of now() + shift_
    unsigned turns_since_poll_ = 0;
    unsigned polls_in_vain_ = 0;  // up to kPollsInVain
    bool is_cut_ = false;
    bool is_fifo_ = true;  // the events are not chosen among
};

}  // namespace penstock
