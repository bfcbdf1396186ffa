#include "reactor/mailbox.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>
#include <vector>

namespace penstock {
namespace {

TEST(Mailbox, KeepsTheOrderOfOneSender) {
    Mailbox mailbox;
    EXPECT_TRUE(mailbox.empty());
    mailbox.post(8);
    mailbox.post(16);
    EXPECT_FALSE(mailbox.empty());
    EXPECT_EQ(mailbox.collect(), (std::vector<Word>{8, 16}));
    EXPECT_TRUE(mailbox.empty());
    EXPECT_TRUE(mailbox.collect().empty());
}

TEST(Mailbox, LosesNothingOfManySenders) {
    constexpr Word kSenders = 4, kEach = 5000;
    Mailbox mailbox;
    std::vector<std::thread> senders;
    for (Word sender = 0; sender < kSenders; ++sender)
        senders.emplace_back([&mailbox, sender] {
            for (Word i = 0; i < kEach; ++i) mailbox.post(sender * kEach + i);
        });
    std::map<Word, Word> next;  // what each sender sends next
    for (Word received = 0; received < kSenders * kEach;) {
        if (mailbox.empty()) continue;
        for (Word word : mailbox.collect()) {
            ASSERT_EQ(word % kEach, next[word / kEach]++);
            ++received;
        }
    }
    for (std::thread& sender : senders) sender.join();
    EXPECT_TRUE(mailbox.empty());
}

}  // namespace
}  // namespace penstock
