// A stream of bytes over an fd on the loop's thread: watching it, and the bytes that wait to leave.
// The fd is a connected socket, or a pipe, a FIFO, a terminal.
//
// What is written has left when send() returns, as far as the kernel takes it; enqueue() keeps
// the rest until the fd is writable. Reading is the observer's: on_readable() comes at most
// once a turn, so an observer that reads once a call leaves the other connections their turn.
//
// Every callback may do anything to the stream, also destroy it. The fd is either owned, and
// then closed by the destructor, or borrowed: its owner calls detach() before it closes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/unique_fd.h"
#include "net/chunk.h"
#include "net/write_queue.h"
#include "reactor/backend.h"

namespace penstock {

class Stream final : private Watcher {
public:
    // How the kernel is spoken to: by send(2) and recv(2), or by what any fd understands.
    enum class Kind : std::uint8_t { kSocket, kPipe };

    class Observer {
    public:
        virtual void on_readable() noexcept = 0;
        // Bytes that were queued have left; queued() says how many still wait.
        virtual void on_written() noexcept = 0;
        // The kernel refuses what was queued (the error is an errno); the queue is empty now.
        virtual void on_write_error(int error) noexcept = 0;

    protected:
        ~Observer() = default;
    };

    Stream(Backend& backend, int borrowed_fd, Observer& observer,
           Kind kind = Kind::kSocket) noexcept
        : backend_(backend), observer_(observer), fd_(borrowed_fd), kind_(kind) {}
    Stream(Backend& backend, UniqueFd fd, Observer& observer) noexcept
        : backend_(backend), observer_(observer), fd_(fd.get()), owned_(std::move(fd)) {}
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    int fd() const noexcept { return fd_; }  // -1 once detached
    bool is_reading() const noexcept { return has(interest_, Ready::kRead); }
    bool is_writing() const noexcept { return has(interest_, Ready::kWrite); }
    std::size_t queued() const noexcept { return queue_.bytes(); }

    // 0, or -errno where the kernel won't watch the fd.
    int start_reading() noexcept { return watch(interest_ | Ready::kRead); }
    void stop_reading() noexcept { watch(interest_ & Ready::kWrite); }

    // The fd is left to another watcher: a duplicate of our own is watched from now on, as an fd
    // has one watcher. 0, or -errno.
    int move_to_duplicate() noexcept;

    // How many bytes came in, 0 at the end of the stream, or -errno.
    ssize_t receive(std::span<std::byte> into) noexcept;
    // How much of it has left: nothing where the kernel's buffer is full or bytes are queued
    // already. -errno where the connection is lost.
    ssize_t send(std::span<const std::byte> bytes) noexcept;
    ssize_t send(std::span<const iovec> pieces) noexcept;
    // Leaves behind what is queued. 0, or -errno.
    int enqueue(Chunk chunk) noexcept;
    // on_written() comes as soon as the fd takes bytes, also where none are queued. 0, or -errno.
    int wait_writable() noexcept { return watch(interest_ | Ready::kWrite); }
    // A socket's peer sees the end of the stream behind what is queued. 0, or -errno.
    int shutdown_write() noexcept;
    // Drops what is queued, and waits no more.
    void discard() noexcept;
    // No callback comes any more, and the fd is its owner's alone; what is queued is dropped.
    void detach() noexcept;

private:
    void on_ready(Ready events) noexcept override;
    int watch(Ready interest) noexcept;
    void flush() noexcept;
    template <class Bytes>
    ssize_t transmit(Bytes bytes) noexcept;

    Backend& backend_;
    Observer& observer_;
    WriteQueue queue_;
    bool* is_gone_ = nullptr;  // of the on_ready() that is running
    int fd_;
    UniqueFd owned_;
    Ready interest_ = Ready::kNone;
    Kind kind_ = Kind::kSocket;
    bool shuts_down_ = false;  // once the queue has drained
};

}  // namespace penstock
