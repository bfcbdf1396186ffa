// The entries that run next, first in, first out: a ring of words that grows and never shrinks
// below its first size. Belongs to the loop's thread.
//
// Positions count all entries that were ever pushed: who remembers the end of the queue can ask
// later whether what stood before it has run.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "reactor/word.h"

namespace penstock {

class ReadyQueue {
public:
    ReadyQueue() : ring_(std::make_unique_for_overwrite<Word[]>(kFirstCapacity)) {}
    ReadyQueue(const ReadyQueue&) = delete;
    ReadyQueue& operator=(const ReadyQueue&) = delete;

    std::size_t size() const noexcept { return tail_ - head_; }
    bool empty() const noexcept { return tail_ == head_; }

    std::size_t end() const noexcept { return tail_; }
    bool has_run(std::size_t end) const noexcept { return head_ >= end; }

    // False, with nothing changed, where memory is out.
    bool try_push(Word word) noexcept {
        if (size() > mask_ && !grow()) [[unlikely]]
            return false;
        ring_[tail_++ & mask_] = word;
        return true;
    }

    Word pop() noexcept { return ring_[head_++ & mask_]; }

    // The entry at `index`, counted from the oldest; those before it keep their order.
    Word take(std::size_t index) noexcept {
        Word word = ring_[(head_ + index) & mask_];
        for (std::size_t i = index; i > 0; --i)
            ring_[(head_ + i) & mask_] = ring_[(head_ + i - 1) & mask_];
        ++head_;
        return word;
    }

    // The entry at `index` without taking it: for those who have to visit what they own.
    Word peek(std::size_t index) const noexcept { return ring_[(head_ + index) & mask_]; }

private:
    static constexpr std::size_t kFirstCapacity = 256;

    bool grow() noexcept {
        std::size_t mask = 2 * mask_ + 1;
        std::unique_ptr<Word[]> larger(new (std::nothrow) Word[mask + 1]);
        if (larger == nullptr) return false;
        for (std::size_t i = head_; i != tail_; ++i) larger[i & mask] = ring_[i & mask_];
        ring_ = std::move(larger);
        mask_ = mask;
        return true;
    }

    std::unique_ptr<Word[]> ring_;
    std::size_t mask_ = kFirstCapacity - 1;
    std::size_t head_ = 0;  // both only ever rise; the mask makes them indices
    std::size_t tail_ = 0;
};

}  // namespace penstock
