#include "net/write_queue.h"

namespace penstock {

void WriteQueue::push(Chunk chunk) {
    if (chunks_ == nullptr) chunks_ = std::make_unique<std::deque<Chunk>>();
    std::size_t size = chunk.bytes().size();
    chunks_->push_back(std::move(chunk));
    bytes_ += size;
}

std::size_t WriteQueue::gather(std::span<iovec> pieces) const noexcept {
    if (empty()) return 0;
    std::size_t count = 0;
    for (const Chunk& chunk : *chunks_) {
        if (count == pieces.size()) break;
        auto* start = const_cast<std::byte*>(chunk.bytes().data());  // an iovec knows no const
        pieces[count++] = {start, chunk.bytes().size()};
    }
    return count;
}

void WriteQueue::consume(std::size_t count, std::vector<Chunk>& done) noexcept {
    bytes_ -= count;
    while (!empty()) {
        Chunk& first = chunks_->front();
        std::size_t size = first.bytes().size();
        if (size > count) {
            first.skip(count);
            break;
        }
        count -= size;
        done.push_back(std::move(first));
        chunks_->pop_front();
    }
    if (empty()) chunks_.reset();
}

}  // namespace penstock
