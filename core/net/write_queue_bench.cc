#include "net/write_queue.h"

#include <array>

#include "base/testing/bench.h"

namespace penstock {
namespace {

BENCH("write queue: ten chunks in, gathered, out") {
    WriteQueue queue;
    std::array<std::byte, 100> bytes{};
    std::array<iovec, 16> pieces;
    std::vector<Chunk> done;
    done.reserve(pieces.size());
    auto release = [](void* owner) noexcept { bench::keep(owner); };
    bench.measure([&] {
        for (int i = 0; i < 10; ++i) queue.push(Chunk(bytes, &queue, release));
        bench::keep(queue.gather(pieces));
        queue.consume(queue.bytes(), done);
        done.clear();
    });
}

}  // namespace
}  // namespace penstock
