// What a stream has accepted and the kernel has not: chunks in order, and their bytes counted.
// Nothing in here lets a chunk go: those that are done are handed out, and the caller drops them
// when it is ready for foreign code to run.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "net/chunk.h"

namespace penstock {

class WriteQueue {
public:
    // On the heap and only while it is used: an empty std::deque holds 576 bytes, and most
    // connections never queue anything.
    struct Waiting {
        std::deque<Chunk> chunks;
        std::size_t bytes = 0;
    };
    using Chunks = std::unique_ptr<Waiting>;

    bool empty() const noexcept { return waiting_ == nullptr || waiting_->chunks.empty(); }
    std::size_t bytes() const noexcept { return waiting_ != nullptr ? waiting_->bytes : 0; }

    void push(Chunk chunk);  // throws std::bad_alloc
    // The first pieces, as many as fit; how many those are.
    std::size_t gather(std::span<iovec> pieces) const noexcept;
    // `count` bytes of the first pieces have left. The chunks that are done go to `done`, which has
    // room for as many as there are pieces.
    void consume(std::size_t count, std::vector<Chunk>& done) noexcept;
    [[nodiscard]] Chunks take_all() noexcept { return std::move(waiting_); }

private:
    Chunks waiting_;
};

}  // namespace penstock
