#include "reactor/mailbox.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <map>
#include <thread>
#include <vector>

namespace penstock {
namespace {

std::vector<Word> words_of(Letters letters) {
    std::vector<Word> words;
    while (!letters.empty()) words.push_back(letters.pop());
    return words;
}

TEST(Mailbox, KeepsTheOrderOfOneSender) {
    Mailbox mailbox;
    Letter first{8}, second{16}, third{24};
    EXPECT_TRUE(mailbox.empty());
    mailbox.post(first);
    mailbox.post(second);
    EXPECT_FALSE(mailbox.empty());
    Letters letters = mailbox.collect();
    EXPECT_TRUE(mailbox.empty());
    EXPECT_TRUE(mailbox.collect().empty());
    mailbox.post(third);
    letters.append(mailbox.collect());
    letters.append({});
    EXPECT_EQ(words_of(letters), (std::vector<Word>{8, 16, 24}));
}

TEST(Mailbox, LosesNothingOfManySenders) {
    constexpr Word kSenders = 4, kEach = 5000;
    Mailbox mailbox;
    std::vector<Letter> letters(kSenders * kEach);
    std::vector<std::thread> senders;
    for (Word sender = 0; sender < kSenders; ++sender)
        senders.emplace_back([&, sender] {
            for (Word i = sender * kEach; i < (sender + 1) * kEach; ++i) {
                letters[i].word = i;
                mailbox.post(letters[i]);
            }
        });
    std::map<Word, Word> next;  // what each sender sends next
    for (Word received = 0; received < kSenders * kEach;) {
        if (mailbox.empty()) continue;
        for (Word word : words_of(mailbox.collect())) {
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
        std::array<Letter, 64> letters;
        while (!stops) {
            for (Letter& letter : letters) mailbox.post(letter);
            mailbox.collect();
        }
    });
    int failed = 0;
    for (int round = 0; round < 100; ++round) {
        pid_t child = ::fork();
        if (child == 0) {
            ::alarm(20);
            bool was_empty = mailbox.empty();
            Letter letter{7};
            mailbox.post(letter);
            bool has_come = words_of(mailbox.collect()) == std::vector<Word>{7};
            ::_exit(was_empty && has_come ? 0 : 1);
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
