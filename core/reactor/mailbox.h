// Words from other threads of core (the resolver's), which hold no interpreter's lock. Any
// thread posts; the loop's thread collects once a turn, and pays one relaxed load where there
// is nothing.
#pragma once

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

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
    std::mutex mutex_;
    std::vector<Word> words_;
    std::atomic<bool> has_words_{false};
};

}  // namespace penstock
