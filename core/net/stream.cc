#include "net/stream.h"

#include <array>
#include <climits>
#include <new>

#include "net/pipe.h"
#include "net/socket.h"

namespace penstock {

Stream::~Stream() {
    if (is_gone_ != nullptr) *is_gone_ = true;
    detach();
}

int Stream::watch(Ready interest) noexcept {
    if (interest == interest_) return 0;
    if (fd_ < 0) return -EBADF;
    int error = backend_.watch(fd_, interest, *this);
    if (error == 0) interest_ = interest;
    return error;
}

int Stream::move_to_duplicate() noexcept {
    if (owned_.is_open()) return 0;
    UniqueFd copy;
    int error = pipe::duplicate(fd_, copy);
    if (error != 0) return error;
    Ready interest = interest_;
    watch(Ready::kNone);
    owned_ = std::move(copy);
    fd_ = owned_.get();
    return watch(interest);
}

ssize_t Stream::receive(std::span<std::byte> into) noexcept {
    return kind_ == Kind::kSocket ? socket::recv(fd_, into) : pipe::read(fd_, into);
}

template <class Bytes>
ssize_t Stream::transmit(Bytes bytes) noexcept {
    return kind_ == Kind::kSocket ? socket::send(fd_, bytes) : pipe::write(fd_, bytes);
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
    return watch(interest_ | Ready::kWrite);
}

int Stream::shutdown_write() noexcept {
    if (queue_.empty()) return socket::shutdown_write(fd_);
    shuts_down_ = true;
    return 0;
}

void Stream::discard() noexcept {
    std::vector<Chunk> dropped = queue_.take_all();
    watch(interest_ & Ready::kRead);
}

void Stream::detach() noexcept {
    std::vector<Chunk> dropped = queue_.take_all();
    watch(Ready::kNone);
    fd_ = -1;
}

void Stream::on_ready(Ready events) noexcept {
    bool is_gone = false;
    bool* outer = std::exchange(is_gone_, &is_gone);
    if (has(events, Ready::kRead) && is_reading()) observer_.on_readable();
    if (!is_gone && has(events, Ready::kWrite) && is_writing()) flush();
    if (!is_gone)
        is_gone_ = outer;
    else if (outer != nullptr)
        *outer = true;
}

// One call an event: a reader that takes everything at once must not keep the loop
// from the other connections.
void Stream::flush() noexcept {
    if (queue_.empty()) {
        watch(interest_ & Ready::kRead);
        return observer_.on_written();
    }
    std::array<iovec, IOV_MAX> pieces;
    std::size_t count = queue_.gather(pieces);
    ssize_t sent = transmit(std::span<const iovec>(pieces.data(), count));
    if (socket::would_block(sent)) return;
    // Let go last: whose bytes they are may run foreign code then.
    std::vector<Chunk> done =
        sent < 0 ? queue_.take_all() : queue_.consume(static_cast<std::size_t>(sent));
    if (queue_.empty()) {
        watch(interest_ & Ready::kRead);
        // Where this fails the connection is lost, and reading will say so.
        if (shuts_down_ && sent >= 0) socket::shutdown_write(fd_);
        shuts_down_ = false;
    }
    if (sent < 0)
        observer_.on_write_error(static_cast<int>(-sent));
    else
        observer_.on_written();
}

}  // namespace penstock
