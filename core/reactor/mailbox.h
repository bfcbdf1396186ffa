// Words from other threads of core (the resolver's), which hold no interpreter's lock. Any
// thread posts; the loop's thread collects once a turn, and pays one relaxed load where there
// is nothing. In a child of fork() it is empty: its words are answers to the parent's questions.
#pragma once

#include <atomic>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/fork.h"
#include "reactor/word.h"

namespace penstock {

class Mailbox {
public:
    void post(Word word) {
        std::lock_guard guard(mutex_);
        words_.push_back(word);
        has_words_.store(true, std::memory_order_seq_cst);
    }

    bool empty() const noexcept { return !has_words_.load(std::memory_order_seq_cst); }

    std::vector<Word> collect() {
        std::lock_guard guard(mutex_);
        has_words_.store(false, std::memory_order_relaxed);
        return std::exchange(words_, {});
    }

private:
    // A thread that does not exist in the child may have held the mutex and be half-way through
    // words_: neither is touched again, not even to be destroyed.
    void leave_parent_behind() noexcept {
        new (&mutex_) std::mutex;
        new (&words_) std::vector<Word>;
        has_words_.store(false, std::memory_order_relaxed);
    }

    std::mutex mutex_;
    std::vector<Word> words_;
    std::atomic<bool> has_words_{false};
    AtFork at_fork_{[this] { leave_parent_behind(); }};
};

}  // namespace penstock
