#include "reactor/ready_queue.h"

#include "base/testing/bench.h"

namespace penstock {
namespace {

BENCH("ready queue: push and pop of 100") {
    ReadyQueue queue;
    bench.measure([&] {
        for (Word word = 0; word < 100; ++word) bench::keep(queue.try_push(word * 8));
        while (!queue.empty()) bench::keep(queue.pop());
    });
}

}  // namespace
}  // namespace penstock
