// Timers in the order in which they are due; equal deadlines in the order in which they were
// added. A cancelled timer stays until it is due or until half of the heap is cancelled
// (count_cancelled), so that cancelling costs nothing: most timers are timeouts, and most
// timeouts are cancelled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "base/clock.h"
#include "reactor/word.h"

namespace penstock {

class TimerHeap {
public:
    bool empty() const noexcept { return heap_.empty(); }
    std::size_t size() const noexcept { return heap_.size(); }
    TimePoint next() const noexcept { return heap_.front().when; }

    // False, with nothing changed, where memory is out.
    bool push(TimePoint when, Word word) noexcept {
        try {
            heap_.push_back({when, sequence_, word});
        } catch (const std::bad_alloc&) {
            return false;
        }
        ++sequence_;
        rise(heap_.size() - 1);
        return true;
    }
    Word front() const noexcept { return heap_.front().word; }

    Word pop() noexcept {
        Word word = heap_.front().word;
        Entry last = heap_.back();
        heap_.pop_back();
        if (!heap_.empty()) sink(0, last);
        return word;
    }

    // One more entry is cancelled. Where they have become the most, removes all for which
    // `is_cancelled(word)` holds and gives each to `drop(word)`, which may run foreign code:
    // the heap is whole again by then. Where memory is out they stay.
    template <class IsCancelled, class Drop>
    void count_cancelled(IsCancelled is_cancelled, Drop drop) {
        if (++cancelled_ < kFewCancelled || cancelled_ * 2 < heap_.size()) return;
        std::vector<Entry> dead;
        try {
            dead.reserve(heap_.size());
        } catch (const std::bad_alloc&) {
            return;
        }
        auto first_dead = std::partition(heap_.begin(), heap_.end(), [&](const Entry& entry) {
            return !is_cancelled(entry.word);
        });
        dead.assign(first_dead, heap_.end());
        heap_.erase(first_dead, heap_.end());
        cancelled_ = 0;
        for (std::size_t i = heap_.size() / kChildren + 1; i-- > 0;)
            if (i < heap_.size()) sink(i, heap_[i]);
        for (const Entry& entry : dead) drop(entry.word);
    }
    // A cancelled entry has left by pop().
    void forget_cancelled() noexcept {
        if (cancelled_ > 0) --cancelled_;
    }

    template <class Visit>
    void visit(Visit visit_word) const {
        for (const Entry& entry : heap_) visit_word(entry.word);
    }

private:
    struct Entry {
        TimePoint when;
        std::uint64_t sequence;
        Word word;
        bool before(const Entry& other) const noexcept {
            return when != other.when ? when < other.when : sequence < other.sequence;
        }
    };

    // Four children share two cache lines and halve the depth: fewer misses than a binary heap.
    static constexpr std::size_t kChildren = 4;
    static constexpr std::size_t kFewCancelled = 100;

    void rise(std::size_t hole) noexcept {
        Entry entry = heap_[hole];
        while (hole > 0) {
            std::size_t parent = (hole - 1) / kChildren;
            if (!entry.before(heap_[parent])) break;
            heap_[hole] = heap_[parent];
            hole = parent;
        }
        heap_[hole] = entry;
    }

    void sink(std::size_t hole, Entry entry) noexcept {
        for (;;) {
            std::size_t first = hole * kChildren + 1;
            if (first >= heap_.size()) break;
            std::size_t last = std::min(first + kChildren, heap_.size());
            std::size_t best = first;
            for (std::size_t child = first + 1; child < last; ++child)
                if (heap_[child].before(heap_[best])) best = child;
            if (!heap_[best].before(entry)) break;
            heap_[hole] = heap_[best];
            hole = best;
        }
        heap_[hole] = entry;
    }

    std::vector<Entry> heap_;
    std::uint64_t sequence_ = 0;
    std::size_t cancelled_ = 0;
};

}  // namespace penstock
