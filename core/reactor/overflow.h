// Words that must run and that the ready queue had no memory for: a list through the objects
// behind them, first in, first out. A word is in it at most once, which its owner sees to.
#pragma once

#include "reactor/word.h"

namespace penstock {

class Overflow {
public:
    // Memory of the object behind a word, for the next word while it is in the list.
    using LinkOf = Word& (*)(Word) noexcept;

    bool empty() const noexcept { return first_ == kNone; }
    Word front() const noexcept { return first_; }

    // All words of a list have the same `link_of`.
    void push(Word word, LinkOf link_of) noexcept {
        link_of_ = link_of;
        link_of(word) = kNone;
        (empty() ? first_ : link_of(last_)) = word;
        last_ = word;
    }
    Word pop() noexcept {
        Word word = first_;
        first_ = link_of_(word);
        return word;
    }

    template <class Visit>
    void visit(Visit visit_word) const {
        for (Word word = first_; word != kNone; word = link_of_(word)) visit_word(word);
    }

private:
    static constexpr Word kNone = 0;

    Word first_ = kNone;
    Word last_ = kNone;
    LinkOf link_of_ = nullptr;
};

}  // namespace penstock
