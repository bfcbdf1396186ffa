// What a stream has accepted and the kernel has not: chunks in order, and their bytes counted.
// Nothing in here lets a chunk go: those that are done are handed out, and the caller drops them
// when it is ready for foreign code to run.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "net/chunk.h"

namespace penstock {

class WriteQueue {
public:
    bool empty() const noexcept { return chunks_ == nullptr || chunks_->empty(); }
    std::size_t bytes() const noexcept { return bytes_; }

    void push(Chunk chunk);
    // The first pieces, as many as fit; how many those are.
    std::size_t gather(std::span<iovec> pieces) const noexcept;
    // `count` bytes have left; the chunks that are done.
    [[nodiscard]] std::vector<Chunk> consume(std::size_t count);
    [[nodiscard]] std::vector<Chunk> take_all();

private:
    // On the heap and only while it is used: an empty std::deque holds 576 bytes, and most
    // connections never queue anything.
    std::unique_ptr<std::deque<Chunk>> chunks_;
    std::size_t bytes_ = 0;
};

}  // namespace penstock
