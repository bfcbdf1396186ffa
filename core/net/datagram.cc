#include "net/datagram.h"

#include <array>
#include <new>
#include <utility>

#include "net/socket.h"

namespace penstock {
namespace {

// A receiver on this machine may take datagrams as fast as we send them: the other sockets have
// their turn all the same.
constexpr std::size_t kMostSendsATurn = 64;

}  // namespace

int DatagramChannel::send(std::span<const std::byte> bytes, const Address& address) noexcept {
    if (!empty()) return -EAGAIN;
    expect_events();
    ssize_t sent = socket::send_to(fd(), bytes, address);
    return sent < 0 ? static_cast<int>(sent) : 0;
}

int DatagramChannel::enqueue(Chunk bytes, const Address& address) noexcept {
    std::size_t size = bytes.bytes().size() + overhead_;
    try {
        if (queue_ == nullptr) queue_ = std::make_unique<std::deque<Datagram>>();
        queue_->push_back({std::move(bytes), address});
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    queued_ += size;
    return watch_writing();
}

DatagramChannel::Queue DatagramChannel::take_all() noexcept {
    queued_ = 0;
    return std::exchange(queue_, nullptr);
}

void DatagramChannel::discard() noexcept {
    Queue dropped = take_all();
    stop_writing();
}

void DatagramChannel::detach() noexcept {
    Queue dropped = take_all();
    forget();
}

void DatagramChannel::flush() noexcept {
    expect_events();
    // Let go last: whose bytes they are may run foreign code then.
    std::array<Chunk, kMostSendsATurn> done;
    for (Chunk& sent_bytes : done) {
        if (empty()) break;
        Datagram& first = queue_->front();
        ssize_t sent = socket::send_to(fd(), first.bytes.bytes(), first.address);
        if (socket::would_block(sent)) break;
        queued_ -= first.bytes.bytes().size() + overhead_;
        sent_bytes = std::move(first.bytes);
        queue_->pop_front();
        if (sent < 0) return observer().on_write_error(static_cast<int>(-sent));
    }
    if (empty()) {
        queue_.reset();
        stop_writing();
    }
    observer().on_written();
}

}  // namespace penstock
