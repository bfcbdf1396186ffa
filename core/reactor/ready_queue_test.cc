#include "reactor/ready_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <vector>

namespace penstock {
namespace {

TEST(ReadyQueue, FirstInFirstOut) {
    ReadyQueue queue;
    for (Word word = 8; word <= 80; word += 8) queue.try_push(word);
    for (Word word = 8; word <= 80; word += 8) EXPECT_EQ(queue.pop(), word);
    EXPECT_TRUE(queue.empty());
}

TEST(ReadyQueue, GrowsWithItsHeadAnywhere) {
    ReadyQueue queue;
    Word pushed = 0, popped = 0;
    for (int i = 0; i < 200; ++i) queue.try_push(++pushed);
    for (int i = 0; i < 150; ++i) ASSERT_EQ(queue.pop(), ++popped);
    for (int i = 0; i < 5000; ++i) queue.try_push(++pushed);
    EXPECT_EQ(queue.size(), pushed - popped);
    while (!queue.empty()) ASSERT_EQ(queue.pop(), ++popped);
    EXPECT_EQ(popped, pushed);
}

TEST(ReadyQueue, TakingFromTheMiddleKeepsTheOrderOfTheRest) {
    ReadyQueue queue;
    for (Word word = 0; word < 5; ++word) queue.try_push(word);
    EXPECT_EQ(queue.take(3), 3u);
    EXPECT_EQ(queue.take(0), 0u);
    EXPECT_EQ(queue.pop(), 1u);
    EXPECT_EQ(queue.pop(), 2u);
    EXPECT_EQ(queue.pop(), 4u);
}

TEST(ReadyQueue, DoesWhatADequeDoes) {
    std::mt19937 random(20240607);
    ReadyQueue queue;
    std::deque<Word> model;
    for (int step = 0; step < 100'000; ++step) {
        if (model.empty() || random() % 100 < 52) {
            queue.try_push(static_cast<Word>(step));
            model.push_back(static_cast<Word>(step));
        } else {
            std::size_t index = random() % 4 == 0 ? random() % model.size() : 0;
            ASSERT_EQ(queue.peek(index), model[index]);
            ASSERT_EQ(queue.take(index), model[index]);
            model.erase(model.begin() + static_cast<std::ptrdiff_t>(index));
        }
        ASSERT_EQ(queue.size(), model.size());
    }
}

}  // namespace
}  // namespace penstock
