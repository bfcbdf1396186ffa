#include "reactor/reactor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>
#include <vector>

#include "base/testing/no_memory.h"
#include "reactor/testing/backend.h"
#include "reactor/testing/memory_backend.h"
#include "reactor/testing/script.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::CountingWatcher;
using testing::Host;
using testing::MemoryBackend;
using testing::Script;

constexpr int kUserFd = 1000;

class ReactorTest : public ::testing::Test {
protected:
    ReactorTest() : reactor(std::make_unique<MemoryBackend>()) {
        backend.on_wait = [this](Duration timeout) {
            if (timeout == Duration::max()) {
                ADD_FAILURE() << "the loop would sleep for ever";
                host.is_interrupted = true;
            }
        };
    }
    Word word(std::function<void()> body) { return script.add(std::move(body)); }
    Word note(int value) {
        return word([this, value] { seen.push_back(value); });
    }
    void stop_soon() {
        reactor.try_push(word([this] { host.stops = true; }));
    }
    void run() { reactor.run(host); }

    Script script;
    Host host;
    Reactor reactor;
    MemoryBackend& backend = static_cast<MemoryBackend&>(reactor.backend());
    std::vector<int> seen;
};

TEST_F(ReactorTest, RunsWhatIsReadyInOrder) {
    for (int i = 0; i < 5; ++i) reactor.try_push(note(i));
    stop_soon();
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_F(ReactorTest, WhatIsAddedDuringATurnRunsInTheNext) {
    reactor.try_push(word([&] {
        seen.push_back(1);
        reactor.try_push(note(3));
        host.stops = true;
    }));
    reactor.try_push(note(2));
    run();
    EXPECT_EQ(seen, (std::vector<int>{1, 2}));
    run();
    EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST_F(ReactorTest, WhenAnEntryFailsTheRestStays) {
    reactor.try_push(note(1));
    reactor.try_push(word([&] { host.has_failed = host.stops = true; }));
    reactor.try_push(note(2));
    run();
    EXPECT_EQ(seen, (std::vector<int>{1}));
    host = {};
    stop_soon();
    run();
    EXPECT_EQ(seen, (std::vector<int>{1, 2}));
}

TEST_F(ReactorTest, AFailureEndsTheRunWithoutAnotherWait) {
    reactor.try_push(word([&] { host.has_failed = true; }));
    run();
    EXPECT_TRUE(backend.timeouts.empty());
}

TEST_F(ReactorTest, DueTimersRunInOrderOfTheirDeadlines) {
    TimePoint base = now();
    reactor.timers().push(base - 1ms, note(2));
    reactor.timers().push(base - 2ms, note(1));
    reactor.timers().push(base - 1ms, note(3));
    reactor.timers().push(base + 1h, note(9));
    stop_soon();
    run();
    EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST_F(ReactorTest, SleepsUntilTheNextTimer) {
    reactor.timers().push(now() + 20ms, word([&] { host.stops = true; }));
    run();
    ASSERT_FALSE(backend.timeouts.empty());
    EXPECT_GT(backend.timeouts.front(), 15ms);
    EXPECT_LE(backend.timeouts.front(), 20ms);
}

TEST_F(ReactorTest, TimersGoByTheHostsClock) {
    TimePoint base = now();
    host.shift = 2h;
    reactor.timers().push(base + 1h, note(1));
    reactor.timers().push(base + 3h, note(2));
    stop_soon();
    run();
    EXPECT_EQ(seen, (std::vector<int>{1}));

    host.stops = false;
    host.shift = -1h;
    reactor.timers().push(base - 1h + 20ms, word([&] { host.stops = true; }));
    backend.timeouts.clear();
    run();
    ASSERT_FALSE(backend.timeouts.empty());
    EXPECT_LE(backend.timeouts.front(), 20ms);
    EXPECT_EQ(seen, (std::vector<int>{1}));
}

TEST_F(ReactorTest, AsksTheKernelRarelyWhereNoDescriptorIsWatched) {
    int left = 1600;
    std::function<void()> again = [&] {
        if (--left > 0)
            reactor.try_push(word(again));
        else
            host.stops = true;
    };
    reactor.try_push(word(again));
    run();
    EXPECT_GE(backend.timeouts.size(), 50u);
    EXPECT_LE(backend.timeouts.size(), 200u);
}

// Turns of one entry each, in which the kernel is asked or not, while an fd is watched.
class PolledTest : public ReactorTest {
protected:
    PolledTest() { backend.watch(kUserFd, Ready::kRead, watcher); }
    // At which turns it was asked, of `count` with `entry` in each.
    std::vector<int> polls_of(
        int count, std::function<void(int)> entry = [](int) {}) {
        std::vector<int> asked;
        int turn = 0;
        backend.on_wait = [&](Duration timeout) {
            EXPECT_EQ(timeout, Duration::zero());
            asked.push_back(turn);
        };
        std::function<void()> again = [&] {
            entry(turn);
            if (++turn < count)
                reactor.try_push(word(again));
            else
                host.stops = true;
        };
        reactor.try_push(word(again));
        run();
        host = {};
        return asked;
    }

    CountingWatcher watcher;
};

TEST_F(PolledTest, AsksTheKernelInEveryTurnAtFirst) {
    std::vector<int> asked = polls_of(16);
    EXPECT_EQ(asked.size(), 16u);
    EXPECT_EQ(polls_of(16).size(), 16u);  // each run begins anew
}

TEST_F(PolledTest, LetsAFewTurnsPassWhereNothingEverCame) {
    std::vector<int> asked = polls_of(2000);
    EXPECT_LT(asked.size(), 2000u);
    EXPECT_GE(asked.size(), 250u);
    for (std::size_t i = 1; i < asked.size(); ++i) EXPECT_LE(asked[i] - asked[i - 1], 8);
}

TEST_F(PolledTest, TurnsThatTakeTimeAreAskedInAlways) {
    std::vector<int> asked = polls_of(100, [](int) {
        TimePoint end = now() + 60us;
        while (now() < end) {
        }
    });
    EXPECT_EQ(asked.size(), 100u);
}

TEST_F(PolledTest, AfterAnEventTheKernelIsAskedInEveryTurnAgain) {
    int seen_at = 0;
    std::vector<int> asked = polls_of(1000, [&](int turn) {
        if (turn == 500) backend.make_ready(kUserFd, Ready::kRead);
        if (watcher.count > 0 && seen_at == 0) seen_at = turn;
    });
    EXPECT_GT(seen_at, 500);
    EXPECT_LE(seen_at, 510);
    for (int turn = seen_at; turn < seen_at + 10; ++turn)
        EXPECT_TRUE(std::binary_search(asked.begin(), asked.end(), turn));
}

TEST_F(PolledTest, WhereAnEventIsExpectedTheNextTurnAsks) {
    for (int sent_at = 500; sent_at < 510; ++sent_at) {
        std::vector<int> asked = polls_of(600, [&](int turn) {
            if (turn == sent_at) backend.expect_events();
        });
        for (int turn = sent_at + 1; turn < sent_at + 10; ++turn)
            EXPECT_TRUE(std::binary_search(asked.begin(), asked.end(), turn));
    }
}

TEST_F(ReactorTest, OwnDescriptorsDoNotCount) {
    CountingWatcher watcher;
    reactor.watch_own(kUserFd, watcher);
    for (int i = 0; i < 10; ++i) reactor.try_push(note(i));
    stop_soon();
    run();
    host = {};
    std::size_t before = backend.timeouts.size();
    stop_soon();
    run();
    EXPECT_EQ(backend.timeouts.size(), before);
    reactor.forget_own(kUserFd);
    reactor.forget_own(kUserFd);
    EXPECT_EQ(backend.watched(), 1u);  // the wake-up
}

// Four connections, each of which brings so much, and has somebody woken by it.
class ReceivingTest : public ReactorTest {
protected:
    void receive(std::size_t bytes, bool wakes = true) {
        for (int i = 0; i < 4; ++i) {
            watchers[static_cast<std::size_t>(i)].then = [=, this](Ready) {
                seen.push_back(i);
                reactor.received(bytes);
                if (wakes) reactor.try_push(note(10 + i));
            };
            backend.watch(kUserFd + i, Ready::kRead, watchers[static_cast<std::size_t>(i)]);
            backend.make_ready(kUserFd + i, Ready::kRead);
        }
        backend.on_wait = [this](Duration) { ++waits; };
        reactor.timers().push(now() + 5ms, word([this] { host.stops = true; }));
    }
    std::array<CountingWatcher, 4> watchers;
    Letter letter;
    int waits = 0;
};

TEST_F(ReceivingTest, LittleIsDeliveredAtOnce) {
    receive(1000);
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 10, 11, 12, 13}));
}

TEST_F(ReceivingTest, WhatMuchHasWokenRunsBeforeTheRestIsDelivered) {
    receive(std::size_t{128} * 1024);
    int before = 0;
    watchers[2].then = [&, then = watchers[2].then](Ready events) {
        before = waits;
        then(events);
    };
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 10, 11, 2, 3, 12, 13}));
    EXPECT_EQ(before, 1);  // the rest is not asked for anew
}

TEST_F(ReceivingTest, WhereNobodyWasWokenTheRestFollows) {
    receive(std::size_t{1024} * 1024, false);
    reactor.post(letter = {.word = note(20)});
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 20}));
}

TEST_F(ReceivingTest, OtherThreadsAndTimersAreHeardInBetween) {
    receive(std::size_t{1024} * 1024);
    watchers[0].then = [&, then = watchers[0].then](Ready events) {
        reactor.timers().push(now() - 1ms, note(30));
        reactor.post(letter = {.word = note(20)});
        then(events);
    };
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 10, 1, 20, 30, 11, 2, 12, 3, 13}));
}

TEST_F(ReceivingTest, TheLastTurnDeliversAll) {
    receive(std::size_t{1024} * 1024);
    stop_soon();
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3}));
}

TEST_F(ReceivingTest, ATurnThatComesToBeTheLastDeliversTheRest) {
    receive(std::size_t{1024} * 1024);
    watchers[0].then = [&, then = watchers[0].then](Ready events) {
        stop_soon();
        then(events);
    };
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 10, 1, 2, 3}));
}

TEST_F(ReceivingTest, WhatAFailedRunLeavesComesWithTheNext) {
    receive(std::size_t{1024} * 1024);
    watchers[0].then = [&, then = watchers[0].then](Ready events) {
        then(events);
        host.has_failed = true;
    };
    run();
    EXPECT_EQ(seen, (std::vector<int>{0}));
    for (int i = 1; i < 4; ++i) backend.make_ready(kUserFd + i, Ready::kRead);
    host = {};
    run();
    EXPECT_EQ(seen, (std::vector<int>{0, 10, 1, 11, 2, 12, 3, 13}));
}

// A turn's batch that takes for ever: I/O and timers must get through all the same.
TEST_F(ReactorTest, ABusyQueueStarvesNeitherIoNorTimers) {
    auto busy = [](Duration time) {
        TimePoint end = now() + time;
        while (now() < end) {
        }
    };
    CountingWatcher watcher;
    TimePoint io_seen{}, timer_seen{};
    watcher.then = [&](Ready) { reactor.push_completed(word([&] { io_seen = now(); })); };
    backend.watch(kUserFd, Ready::kRead, watcher);
    TimePoint start;
    bool has_started = false;
    for (int i = 0; i < 300; ++i)
        reactor.try_push(word([&] {
            if (!has_started) {
                has_started = true;
                start = now();
                backend.make_ready(kUserFd, Ready::kRead);
                reactor.timers().push(start + 1ms, word([&] { timer_seen = now(); }));
            }
            busy(1ms);
        }));
    stop_soon();
    run();
    EXPECT_GT(now() - start, 250ms);
    ASSERT_NE(io_seen, TimePoint{});
    ASSERT_NE(timer_seen, TimePoint{});
    EXPECT_LT(io_seen - start, 50ms);
    EXPECT_LT(timer_seen - start, 50ms);
}

// Events each of which takes a while: what is ready, timers and other threads get through.
TEST_F(ReactorTest, BusyEventsStarveNothingEither) {
    constexpr int kCount = 60;
    std::vector<CountingWatcher> watchers(kCount);
    std::vector<int> expected;
    std::vector<std::size_t> before;  // events that were delivered before each of the three
    auto others = [&] { return word([&] { before.push_back(seen.size()); }); };
    Letter letter;
    for (int i = 0; i < kCount; ++i) {
        CountingWatcher& watcher = watchers[static_cast<std::size_t>(i)];
        expected.push_back(i);
        watcher.then = [&, i](Ready) {
            if (i == 0) {
                reactor.try_push(others());
                reactor.timers().push(now(), others());
                reactor.post(letter = {.word = others()});
            }
            for (TimePoint end = now() + 2ms; now() < end;) {
            }
            seen.push_back(i);
            if (i == kCount - 1) stop_soon();
        };
        backend.watch(kUserFd + i, Ready::kRead, watcher);
        backend.make_ready(kUserFd + i, Ready::kRead);
    }
    backend.on_wait = [](Duration) {};
    run();
    EXPECT_EQ(seen, expected);
    ASSERT_EQ(before.size(), 3u);
    EXPECT_LT(std::ranges::max(before), 30u);
}

// Neither do the two of them each other.
TEST_F(ReactorTest, BusyEventsAndABusyQueueTakeTurns) {
    constexpr int kCount = 30;
    std::vector<CountingWatcher> watchers(kCount);
    auto take_time = [] {
        for (TimePoint end = now() + 2ms; now() < end;) {
        }
    };
    for (int i = 0; i < kCount; ++i) {
        CountingWatcher& watcher = watchers[static_cast<std::size_t>(i)];
        watcher.then = [&](Ready) {
            take_time();
            seen.push_back(1);
        };
        backend.watch(kUserFd + i, Ready::kRead, watcher);
        backend.make_ready(kUserFd + i, Ready::kRead);
        reactor.try_push(word([&] {
            take_time();
            seen.push_back(2);
        }));
    }
    stop_soon();
    run();
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), kCount);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 2), kCount);
    std::size_t longest = 0, together = 0;
    for (std::size_t i = 1; i < seen.size(); ++i) {
        together = seen[i] == seen[i - 1] ? together + 1 : 0;
        longest = std::max(longest, together);
    }
    EXPECT_LT(longest, 20u);
}

TEST_F(ReactorTest, ManyTurnsOfBusyWorkStarveNothingEither) {
    CountingWatcher watcher;
    reactor.watch_own(kUserFd, watcher);  // nothing makes the loop ask in every turn
    std::vector<TimePoint> asked;
    backend.on_wait = [&](Duration) { asked.push_back(now()); };
    TimePoint end = now() + 100ms;
    std::function<void()> again = [&] {
        TimePoint until = now() + 1ms;
        while (now() < until) {
        }
        if (now() < end)
            reactor.try_push(word(again));
        else
            host.stops = true;
    };
    reactor.try_push(word(again));
    run();
    ASSERT_GE(asked.size(), 3u);
    for (std::size_t i = 1; i < asked.size(); ++i) EXPECT_LT(asked[i] - asked[i - 1], 50ms);
}

TEST_F(ReactorTest, ACutBatchKeepsItsOrder) {
    std::vector<int> expected;
    for (int i = 0; i < 40; ++i) {
        expected.push_back(i);
        reactor.try_push(word([this, i] {
            TimePoint end = now() + 1ms;
            while (now() < end) {
            }
            seen.push_back(i);
        }));
    }
    stop_soon();
    run();
    EXPECT_EQ(seen, expected);
}

TEST_F(ReactorTest, AnInterruptedWaitEndsTheRun) {
    backend.on_wait = [&](Duration) { host.is_interrupted = true; };
    run();
    EXPECT_EQ(backend.timeouts.size(), 1u);
}

TEST_F(ReactorTest, AWaitThatFailsEndsTheRun) {
    backend.error = EINTR;
    backend.on_wait = [&](Duration) {
        if (backend.timeouts.size() == 3) backend.error = EBADF;
    };
    run();
    EXPECT_EQ(backend.timeouts.size(), 3u);
    EXPECT_EQ(host.wait_error, EBADF);
}

TEST_F(ReactorTest, DrainGivesBackEverything) {
    reactor.try_push(note(1));
    reactor.timers().push(now() + 1h, note(2));
    Letter letter{note(3)};
    reactor.post(letter);
    int drops = 0;
    reactor.drain([&](Word) {
        if (++drops == 1) reactor.try_push(note(4));
    });
    EXPECT_EQ(drops, 4);
    EXPECT_TRUE(reactor.ready().empty() && reactor.timers().empty());
    EXPECT_TRUE(seen.empty());
}

TEST_F(ReactorTest, VisitSeesWhatIsOwned) {
    reactor.try_push(note(1));
    reactor.timers().push(now() + 1h, note(2));
    int visits = 0;
    reactor.visit([&](Word) { ++visits; });
    EXPECT_EQ(visits, 2);
    reactor.drain([](Word) {});
}

// Always the youngest: what a deterministic test mode may choose, production never does.
struct Youngest final : Oracle {
    std::size_t choose(Choice what, std::size_t count) noexcept override {
        EXPECT_GE(count, 2u);
        ++asked[static_cast<std::size_t>(what)];
        return count - 1;
    }
    std::array<int, 3> asked{};
};

TEST_F(ReactorTest, AnOracleDecidesTheOrderOfAllThree) {
    Youngest oracle;
    reactor.chooser().consult(&oracle);
    EXPECT_FALSE(reactor.chooser().is_fifo());
    std::vector<CountingWatcher> watchers(3);
    for (int i = 0; i < 3; ++i) {
        watchers[static_cast<std::size_t>(i)].then = [this, i](Ready) { seen.push_back(20 + i); };
        backend.watch(kUserFd + i, Ready::kRead, watchers[static_cast<std::size_t>(i)]);
        backend.make_ready(kUserFd + i, Ready::kRead);
    }
    for (int i = 0; i < 3; ++i) reactor.timers().push(now() - 1s, note(10 + i));
    for (int i = 0; i < 3; ++i) reactor.try_push(note(i));
    host.stops = true;
    run();
    // Each kind's youngest first; the kinds in their order.
    EXPECT_EQ(seen, (std::vector<int>{2, 1, 0, 22, 21, 20, 12, 11, 10}));
    EXPECT_EQ(oracle.asked, (std::array<int, 3>{2, 2, 2}));
}

// Words that have room for the next one, as a task has.
struct Linked {
    Word next = 0;
    int runs = 0;
    Word word() noexcept { return reinterpret_cast<Word>(this); }
    static Linked& of(Word word) noexcept { return *reinterpret_cast<Linked*>(word); }
    static Word& link(Word word) noexcept { return of(word).next; }
    // Whether there was room.
    bool push(Reactor& reactor) noexcept {
        if (reactor.try_push(word())) return true;
        reactor.push_without_room(word(), link);
        return false;
    }
};

struct LinkedHost : Host {
    void run(Word word) {
        order.push_back(&Linked::of(word));
        ++Linked::of(word).runs;
        if (--left == 0) stops = true;
    }
    std::vector<Linked*> order;
    std::size_t left = 0;
};

TEST(ReactorWithoutMemory, EveryWordRunsInItsOrder) {
    Reactor reactor(std::make_unique<MemoryBackend>());
    static_cast<MemoryBackend&>(reactor.backend()).timeouts.reserve(100);
    std::vector<Linked> all(1000);
    LinkedHost linked;
    linked.left = all.size();
    linked.order.reserve(all.size());
    std::size_t in_overflow = 0;
    int visits = 0;
    {
        testing::NoMemory no_memory;
        for (Linked& each : all) in_overflow += !each.push(reactor);
        bool was_refused = !reactor.try_push(8);
        reactor.visit([&](Word) { ++visits; });
        reactor.run(linked);
        EXPECT_TRUE(was_refused);
    }
    EXPECT_GT(in_overflow, 0u);
    EXPECT_LT(in_overflow, all.size());
    EXPECT_EQ(visits, 1000);
    ASSERT_EQ(linked.order.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(linked.order[i], &all[i]);
}

TEST(ReactorWithoutMemory, DrainGivesBackWhatHadNoRoom) {
    Reactor reactor(std::make_unique<MemoryBackend>());
    std::vector<Linked> all(1000);
    int drops = 0;
    testing::NoMemory no_memory;
    for (Linked& each : all) each.push(reactor);
    reactor.drain([&](Word word) {
        Linked::of(word).runs = 1;
        ++drops;
    });
    EXPECT_EQ(drops, 1000);
    for (Linked& each : all) EXPECT_EQ(each.runs, 1);
}

TEST_F(ReactorTest, WithoutMemoryEventsRunAsTheKernelTellsThem) {
    Youngest oracle;
    reactor.chooser().consult(&oracle);
    std::vector<CountingWatcher> watchers(2);
    seen.reserve(2);
    for (int i = 0; i < 2; ++i) {
        watchers[static_cast<std::size_t>(i)].then = [this, i](Ready) { seen.push_back(i); };
        backend.watch(kUserFd + i, Ready::kRead, watchers[static_cast<std::size_t>(i)]);
    }
    // The backend of tests needs memory of its own.
    backend.on_wait = [&](Duration) {
        for (int i = 0; i < 2; ++i) backend.make_ready(kUserFd + i, Ready::kRead);
    };
    struct Starved : Host {
        int wait(Backend& waiting, Duration timeout) {
            int count = waiting.wait(timeout);
            no_memory.emplace();
            return count;
        }
        bool interrupted() const { return false; }
        std::optional<testing::NoMemory> no_memory;
    } starved;
    starved.stops = true;
    reactor.run(starved);
    starved.no_memory.reset();
    EXPECT_EQ(seen, (std::vector<int>{0, 1}));
}

TEST(ReactorOnEpoll, AnotherThreadEndsItsSleep) {
    Reactor reactor(testing::make_backend());
    Script script;
    Host host;
    Letter stop{script.add([&] { host.stops = true; })};
    std::thread other([&] { reactor.post(stop); });
    reactor.run(host);
    other.join();
}

TEST(ReactorOnEpoll, LosesNoWordOfOtherThreads) {
    constexpr std::size_t kSenders = 3, kEach = 2000;
    Reactor reactor(testing::make_backend());
    Script script;
    Host host;
    std::size_t received = 0;
    Word count = script.add([&] {
        if (++received == kSenders * kEach) host.stops = true;
    });
    std::vector<Letter> letters(kSenders * kEach, {count});
    std::vector<std::thread> senders;
    senders.reserve(kSenders);
    for (std::size_t i = 0; i < kSenders; ++i)
        senders.emplace_back([&, i] {
            for (std::size_t n = 0; n < kEach; ++n) reactor.post(letters[i * kEach + n]);
        });
    reactor.run(host);
    for (std::thread& sender : senders) sender.join();
    EXPECT_EQ(received, kSenders * kEach);
}

// A wake says nothing where no wait is announced: without a lock in common the other thread
// repeats it until it was heard.
TEST(ReactorOnEpoll, WakesForAThreadThatOnlyWakes) {
    Reactor reactor(testing::make_backend());
    std::atomic<bool> has_woken = false;
    struct Woken : Host {
        bool interrupted() const { return true; }
    } host;
    std::thread other([&] {
        while (!has_woken) reactor.wake();
    });
    reactor.run(host);
    has_woken = true;
    other.join();
}

TEST(ReactorOnEpoll, TimersAreOnTime) {
    Reactor reactor(testing::make_backend());
    Script script;
    Host host;
    TimePoint due = now() + 3ms, ran{};
    reactor.timers().push(due, script.add([&] {
        ran = now();
        host.stops = true;
    }));
    reactor.run(host);
    EXPECT_GE(ran, due);
    EXPECT_LT(ran - due, 50ms);
}

}  // namespace
}  // namespace penstock
