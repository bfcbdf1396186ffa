// A stream of bytes over an fd on the loop's thread: watching it, and the bytes that wait to leave.
// The fd is a connected socket, or a pipe, a FIFO, a terminal.
//
// What is written has left when send() returns, as far as the kernel takes it; enqueue() keeps
// the rest until the fd is writable. A small write to a socket may be in the loop's outbox until
// the turn is over: it counts as sent, and leaves before anything else is done here. Reading is the
// observer's. After an error the queue is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "net/channel.h"
#include "net/chunk.h"
#include "net/write_queue.h"

namespace penstock {

class Stream final : public Channel {
public:
    // How the kernel is spoken to: by send(2) and recv(2), or by what any fd understands.
    enum class Kind : std::uint8_t { kSocket, kPipe };

    Stream(Backend& backend, int borrowed_fd, Observer& observer,
           Kind kind = Kind::kSocket) noexcept
        : Channel(backend, borrowed_fd, observer), kind_(kind) {}
    Stream(Backend& backend, UniqueFd fd, Observer& observer) noexcept
        : Channel(backend, std::move(fd), observer) {}
    ~Stream() override { Stream::detach(); }

    std::size_t queued() const noexcept override { return queue_.bytes(); }

    // How many bytes came in, 0 at the end of the stream, or -errno.
    ssize_t receive(std::span<std::byte> into) noexcept;
    // How much of it has left: nothing where the kernel's buffer is full or bytes are queued
    // already. -errno where the connection is lost.
    ssize_t send(std::span<const std::byte> bytes) noexcept;
    ssize_t send(std::span<const iovec> pieces) noexcept;
    int settle() noexcept override { return is_kept_ ? leave(outbox().take(*this)) : 0; }
    // Leaves behind what is queued. 0, or -errno.
    int enqueue(Chunk chunk) noexcept;
    // on_written() comes as soon as the fd takes bytes, also where none are queued. 0, or -errno.
    int wait_writable() noexcept {
        int error = settle();
        return error == 0 ? watch_writing() : error;
    }
    // A socket's peer sees the end of the stream behind what is queued. 0, or -errno.
    int shutdown_write() noexcept;
    void discard() noexcept override;
    void detach() noexcept override;

private:
    void flush() noexcept override;
    void send_kept(std::span<const std::byte> bytes) noexcept override;
    template <class Bytes>
    ssize_t transmit(Bytes bytes) noexcept;
    int leave(std::span<const std::byte> kept) noexcept;
    bool keep(std::span<const iovec> pieces, std::size_t size) noexcept;
    template <class Bytes>
    ssize_t send_now(Bytes bytes) noexcept;

    // In the last word of the base.
    Kind kind_ = Kind::kSocket;
    bool shuts_down_ = false;  // once the queue has drained
    bool is_kept_ = false;     // something, in the outbox
    WriteQueue queue_;
};

}  // namespace penstock
