// The entries that run next, first in, first out: a ring of words that grows and never shrinks
// below its first size. Belongs to the loop's thread.
#pragma once

#include <cstddef>
#include <memory>

#include "reactor/word.h"

namespace penstock {

class ReadyQueue {
public:
    ReadyQueue() : ring_(std::make_unique_for_overwrite<Word[]>(kFirstCapacity)) {}
    ReadyQueue(const ReadyQueue&) = delete;
    ReadyQueue& operator=(const ReadyQueue&) = delete;

    std::size_t size() const noexcept { return tail_ - head_; }
    bool empty() const noexcept { return tail_ == head_; }

    void push(Word word) {
        if (size() > mask_) [[unlikely]]
            grow();
        ring_[tail_++ & mask_] = word;
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

    void grow() {
        std::size_t count = size();
        auto larger = std::make_unique_for_overwrite<Word[]>(2 * (mask_ + 1));
        for (std::size_t i = 0; i < count; ++i) larger[i] = ring_[(head_ + i) & mask_];
        ring_ = std::move(larger);
        mask_ = 2 * mask_ + 1;
        head_ = 0;
        tail_ = count;
    }

    std::unique_ptr<Word[]> ring_;
    std::size_t mask_ = kFirstCapacity - 1;
    std::size_t head_ = 0;  // both only ever rise; the mask makes them indices
    std::size_t tail_ = 0;
};

}  // namespace penstock
