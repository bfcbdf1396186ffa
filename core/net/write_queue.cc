#include "net/write_queue.h"

namespace penstock {

void WriteQueue::push(Chunk chunk) {
    if (waiting_ == nullptr) waiting_ = std::make_unique<Waiting>();
    std::size_t size = chunk.bytes().size();
    waiting_->chunks.push_back(std::move(chunk));
    waiting_->bytes += size;
}

std::size_t WriteQueue::gather(std::span<iovec> pieces) const noexcept {
    if (empty()) return 0;
    std::size_t count = 0;
    for (const Chunk& chunk : waiting_->chunks) {
        if (count == pieces.size()) break;
        auto* start = const_cast<std::byte*>(chunk.bytes().data());  // an iovec knows no const
        pieces[count++] = {start, chunk.bytes().size()};
    }
    return count;
}

void WriteQueue::consume(std::size_t count, std::vector<Chunk>& done) noexcept {
    if (waiting_ == nullptr) return;
    std::deque<Chunk>& chunks = waiting_->chunks;
    waiting_->bytes -= count;
    while (!chunks.empty()) {
        Chunk& first = chunks.front();
        std::size_t size = first.bytes().size();
        if (size > count) {
            first.skip(count);
            break;
        }
        count -= size;
        done.push_back(std::move(first));
        chunks.pop_front();
    }
    if (chunks.empty()) waiting_.reset();
}

}  // namespace penstock
