// Words from other threads of core (the resolver's), which hold no interpreter's lock. Any
// thread posts; the loop's thread collects once a turn, and pays one relaxed load where there
// is nothing. In a child of fork() it is empty: its words are answers to the parent's questions.
//
// An answer must arrive, so posting can't fail: a word travels in a letter that its owner made
// before it asked, and that is the mailbox's from post() until it is collected, the collector's
// from then on until the word runs.
#pragma once

#include <atomic>
#include <mutex>
#include <new>
#include <utility>

#include "base/fork.h"
#include "reactor/word.h"

namespace penstock {

struct Letter {
    Word word = 0;
    Letter* next = nullptr;
};

// First in, first out. Owns nothing.
class Letters {
public:
    bool empty() const noexcept { return first_ == nullptr; }
    const Letter* first() const noexcept { return first_; }

    void push(Letter& letter) noexcept {
        letter.next = nullptr;
        (first_ == nullptr ? first_ : last_->next) = &letter;
        last_ = &letter;
    }
    void append(Letters&& others) noexcept {
        if (others.empty()) return;
        (first_ == nullptr ? first_ : last_->next) = std::exchange(others.first_, nullptr);
        last_ = others.last_;
    }
    Word pop() noexcept { return std::exchange(first_, first_->next)->word; }

private:
    Letter* first_ = nullptr;
    Letter* last_ = nullptr;  // where there is a first one
};

class Mailbox {
public:
    void post(Letter& letter) noexcept {
        std::lock_guard guard(mutex_);
        letters_.push(letter);
        has_letters_.store(true, std::memory_order_seq_cst);
    }

    bool empty() const noexcept { return !has_letters_.load(std::memory_order_seq_cst); }

    Letters collect() noexcept {
        std::lock_guard guard(mutex_);
        has_letters_.store(false, std::memory_order_relaxed);
        return std::exchange(letters_, {});
    }

private:
    // A thread that does not exist in the child may have held the mutex and be half-way through
    // letters_.
    void leave_parent_behind() noexcept {
        new (&mutex_) std::mutex;
        letters_ = {};
        has_letters_.store(false, std::memory_order_relaxed);
    }

    std::mutex mutex_;
    Letters letters_;
    std::atomic<bool> has_letters_{false};
    AtFork at_fork_{[this] { leave_parent_behind(); }};
};

}  // namespace penstock
