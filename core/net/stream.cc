#include "net/stream.h"

#include <array>
#include <climits>
#include <new>

#include "net/pipe.h"
#include "net/socket.h"

namespace penstock {

ssize_t Stream::receive(std::span<std::byte> into) noexcept {
    return kind_ == Kind::kSocket ? socket::recv(fd(), into) : pipe::read(fd(), into);
}

template <class Bytes>
ssize_t Stream::transmit(Bytes bytes) noexcept {
    expect_events();
    return kind_ == Kind::kSocket ? socket::send(fd(), bytes) : pipe::write(fd(), bytes);
}

ssize_t Stream::send(std::span<const std::byte> bytes) noexcept {
    if (!queue_.empty()) return 0;
    ssize_t sent = transmit(bytes);
    return socket::would_block(sent) ? 0 : sent;
}

ssize_t Stream::send(std::span<const iovec> pieces) noexcept {
    if (!queue_.empty()) return 0;
    ssize_t sent = transmit(pieces);
    return socket::would_block(sent) ? 0 : sent;
}

int Stream::enqueue(Chunk chunk) noexcept {
    try {
        queue_.push(std::move(chunk));
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return watch_writing();
}

int Stream::shutdown_write() noexcept {
    expect_events();
    if (queue_.empty()) return socket::shutdown_write(fd());
    shuts_down_ = true;
    return 0;
}

void Stream::discard() noexcept {
    WriteQueue::Chunks dropped = queue_.take_all();
    stop_writing();
}

void Stream::detach() noexcept {
    WriteQueue::Chunks dropped = queue_.take_all();
    forget();
}

// One call an event: a reader that takes everything at once must not keep the loop
// from the other connections.
void Stream::flush() noexcept {
    if (queue_.empty()) {
        stop_writing();
        return observer().on_written();
    }
    std::array<iovec, IOV_MAX> pieces;
    std::size_t count = queue_.gather(pieces);
    // Let go last: whose bytes they are may run foreign code then.
    std::vector<Chunk> done;
    try {
        done.reserve(count);
    } catch (const std::bad_alloc&) {
        return;  // the kernel will tell again
    }
    ssize_t sent = transmit(std::span<const iovec>(pieces.data(), count));
    if (socket::would_block(sent)) return;
    WriteQueue::Chunks dropped = sent < 0 ? queue_.take_all() : nullptr;
    if (sent >= 0) queue_.consume(static_cast<std::size_t>(sent), done);
    if (queue_.empty()) {
        stop_writing();
        // Where this fails the connection is lost, and reading will say so.
        if (shuts_down_ && sent >= 0) socket::shutdown_write(fd());
        shuts_down_ = false;
    }
    if (sent < 0)
        observer().on_write_error(static_cast<int>(-sent));
    else
        observer().on_written();
}

}  // namespace penstock
