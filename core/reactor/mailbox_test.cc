#include "reactor/mailbox.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
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

// Whatever another thread was about when the process forked.
TEST(Mailbox, OpensInAChild) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "TSan does not follow threads of a forked child";
#endif
    Mailbox mailbox;
    std::atomic<bool> stops = false;
    std::thread other([&] {
        for (Word word = 0; !stops; ++word) {
            mailbox.post(word);
            if (word % 64 == 0) mailbox.collect();
        }
    });
    int failed = 0;
    for (int round = 0; round < 100; ++round) {
        pid_t child = ::fork();
        if (child == 0) {
            ::alarm(20);
            bool was_empty = mailbox.empty();
            mailbox.post(7);
            ::_exit(was_empty && mailbox.collect() == std::vector<Word>{7} ? 0 : 1);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        failed += status != 0;
    }
    stops = true;
    other.join();
    EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace penstock
