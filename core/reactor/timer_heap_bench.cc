#include "reactor/timer_heap.h"

#include "base/testing/bench.h"

namespace penstock {
namespace {

// Deadlines of 100 timers, in an order that is none.
TimePoint deadline(Word number) {
    return TimePoint(Duration(static_cast<Duration::rep>(number * 37 % 100)));
}

BENCH("timer heap: push and pop of 100") {
    TimerHeap heap;
    bench.measure([&] {
        for (Word number = 0; number < 100; ++number)
            bench::keep(heap.push(deadline(number), number * 8));
        while (!heap.empty()) bench::keep(heap.pop());
    });
}

// As timeouts do: all are cancelled before they are due, some when the next are there.
BENCH("timer heap: push and cancel of 100") {
    TimerHeap heap;
    bench.measure([&] {
        for (Word number = 0; number < 100; ++number)
            bench::keep(heap.push(deadline(number), number * 8));
        for (Word number = 0; number < 100; ++number)
            heap.count_cancelled([](Word) { return true; }, [](Word word) { bench::keep(word); });
    });
}

}  // namespace
}  // namespace penstock
