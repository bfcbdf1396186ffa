#include "reactor/timer_heap.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace penstock {
namespace {

TimePoint at(std::int64_t nanoseconds) { return TimePoint(Duration(nanoseconds)); }

TEST(TimerHeap, EqualDeadlinesLeaveInTheOrderInWhichTheyCame) {
    TimerHeap heap;
    for (Word word = 0; word < 100; ++word) heap.push(at(7), word);
    for (Word word = 0; word < 100; ++word) EXPECT_EQ(heap.pop(), word);
}

TEST(TimerHeap, AnEarlierOneOvertakes) {
    TimerHeap heap;
    heap.push(at(30), 3);
    heap.push(at(10), 1);
    heap.push(at(20), 2);
    EXPECT_EQ(heap.next(), at(10));
    EXPECT_EQ(heap.pop(), 1u);
    EXPECT_EQ(heap.pop(), 2u);
    EXPECT_EQ(heap.pop(), 3u);
    EXPECT_TRUE(heap.empty());
}

// A multimap keeps equal keys in the order of insertion: the very contract.
TEST(TimerHeap, DoesWhatAMultimapDoes) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        std::mt19937 random(seed);
        TimerHeap heap;
        std::multimap<TimePoint, Word> model;
        Word next = 1;
        for (int step = 0; step < 5000; ++step) {
            if (model.empty() || random() % 100 < 55) {
                TimePoint when = at(random() % (seed % 2 == 0 ? 16 : 100'000));
                heap.push(when, next);
                model.emplace(when, next++);
            } else {
                ASSERT_EQ(heap.next(), model.begin()->first);
                ASSERT_EQ(heap.pop(), model.begin()->second);
                model.erase(model.begin());
            }
            ASSERT_EQ(heap.size(), model.size());
        }
    }
}

TEST(TimerHeap, CancelledOnesArePurgedWhenTheyAreTheMost) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        std::mt19937 random(seed);
        TimerHeap heap;
        std::multimap<TimePoint, Word> model;
        for (Word word = 0; word < 1000; ++word) {
            TimePoint when = at(random() % 50);
            heap.push(when, word);
            model.emplace(when, word);
        }
        std::set<Word> cancelled;
        std::set<Word> dropped;
        while (dropped.empty()) {
            Word word = random() % 1000;
            if (!cancelled.insert(word).second) continue;
            heap.count_cancelled([&](Word w) { return cancelled.contains(w); },
                                 [&](Word w) { EXPECT_TRUE(dropped.insert(w).second); });
        }
        EXPECT_EQ(dropped, cancelled);
        EXPECT_EQ(cancelled.size(), 500u);  // half of the heap
        std::erase_if(model, [&](const auto& entry) { return cancelled.contains(entry.second); });
        ASSERT_EQ(heap.size(), model.size());
        for (const auto& [when, word] : model) ASSERT_EQ(heap.pop(), word);
    }
}

TEST(TimerHeap, FewCancelledOnesStayUntilTheyAreDue) {
    TimerHeap heap;
    for (Word word = 0; word < 50; ++word) heap.push(at(1), word);
    for (int i = 0; i < 50; ++i)
        heap.count_cancelled([](Word) { return true; }, [](Word) { FAIL() << "purged too early"; });
    EXPECT_EQ(heap.size(), 50u);
}

// Whoever is dropped may be foreign code that starts timers.
TEST(TimerHeap, ADropMayPush) {
    TimerHeap heap;
    for (Word word = 0; word < 200; ++word) heap.push(at(static_cast<std::int64_t>(word)), word);
    int drops = 0;
    for (int i = 0; i < 200 && drops == 0; ++i)
        heap.count_cancelled([](Word word) { return word < 150; },
                             [&](Word) {
                                 ++drops;
                                 heap.push(at(175), 1000);
                             });
    EXPECT_EQ(drops, 150);
    EXPECT_EQ(heap.size(), 200u);
    TimePoint last = at(0);
    while (!heap.empty()) {
        ASSERT_LE(last, heap.next());
        last = heap.next();
        heap.pop();
    }
}

}  // namespace
}  // namespace penstock
