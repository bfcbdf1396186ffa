#include "net/stream.h"

#include <array>
#include <climits>
#include <new>
#include <optional>

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

// 0, or -errno where the connection is lost.
int Stream::leave(std::span<const std::byte> kept) noexcept {
    is_kept_ = false;
    if (kept.empty()) return 0;
    ssize_t sent = transmit(kept);
    if (socket::would_block(sent)) sent = 0;
    if (sent < 0) return static_cast<int>(sent);
    std::span<const std::byte> rest = kept.subspan(static_cast<std::size_t>(sent));
    if (rest.empty()) return 0;
    std::optional<Chunk> copy = Chunk::copy(rest);
    int error = copy ? enqueue(std::move(*copy)) : -ENOMEM;
    return error;
}

void Stream::send_kept(std::span<const std::byte> bytes) noexcept {
    int error = leave(bytes);
    if (error < 0)
        observer().on_write_error(-error);
    else if (!queue_.empty())
        observer().on_queued();
}

ssize_t Stream::send(std::span<const std::byte> bytes) noexcept {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    if (keep({&piece, 1}, bytes.size())) return static_cast<ssize_t>(bytes.size());
    return send_now(bytes);
}

ssize_t Stream::send(std::span<const iovec> pieces) noexcept {
    std::size_t size = 0;
    for (const iovec& piece : pieces) size += piece.iov_len;
    return keep(pieces, size) ? static_cast<ssize_t>(size) : send_now(pieces);
}

bool Stream::keep(std::span<const iovec> pieces, std::size_t size) noexcept {
    if (kind_ != Kind::kSocket || fd() < 0 || !queue_.empty() || !outbox().is_open()) return false;
    if (is_kept_ && !outbox().is_last(*this)) return false;
    if (!outbox().keep(*this, pieces, size)) return false;
    is_kept_ = true;
    return true;
}

template <class Bytes>
ssize_t Stream::send_now(Bytes bytes) noexcept {
    if (int error = settle(); error < 0) return error;
    if (!queue_.empty()) return 0;
    ssize_t sent = transmit(bytes);
    return socket::would_block(sent) ? 0 : sent;
}

int Stream::enqueue(Chunk chunk) noexcept {
    if (int error = settle(); error < 0) return error;
    try {
        queue_.push(std::move(chunk));
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return watch_writing();
}

int Stream::shutdown_write() noexcept {
    if (int error = settle(); error < 0) return error;
    expect_events();
    if (queue_.empty()) return socket::shutdown_write(fd());
    shuts_down_ = true;
    return 0;
}

void Stream::discard() noexcept {
    settle();
    WriteQueue::Chunks dropped = queue_.take_all();
    stop_writing();
}

void Stream::detach() noexcept {
    settle();
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
