// A datagram socket on the loop's thread: watching it, and the datagrams that wait to leave, each
// whole and with its address, in order.
//
// Receiving is the observer's. An error concerns the one datagram that the kernel refused: the
// others still wait, and go on in the next turn.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>

#include "net/address.h"
#include "net/channel.h"
#include "net/chunk.h"

namespace penstock {

class DatagramChannel final : public Channel {
public:
    // `overhead` is what a datagram counts in queued() beyond its bytes.
    DatagramChannel(Backend& backend, int borrowed_fd, Observer& observer,
                    std::size_t overhead) noexcept
        : Channel(backend, borrowed_fd, observer), overhead_(overhead) {}
    ~DatagramChannel() override { DatagramChannel::detach(); }

    bool empty() const noexcept { return queue_ == nullptr || queue_->empty(); }
    std::size_t queued() const noexcept override { return queued_; }

    // To `address`, or to the peer of a connected socket where that has no family. 0; -EAGAIN
    // where the socket is full or others wait already; -errno.
    int send(std::span<const std::byte> bytes, const Address& address) noexcept;
    // Leaves behind what is queued. 0, or -errno.
    int enqueue(Chunk bytes, const Address& address) noexcept;
    void discard() noexcept override;
    void detach() noexcept override;

private:
    struct Datagram {
        Chunk bytes;
        Address address;
    };
    // On the heap and only while it is used: most sockets never queue anything.
    using Queue = std::unique_ptr<std::deque<Datagram>>;

    void flush() noexcept override;
    Queue take_all() noexcept;

    Queue queue_;
    std::size_t queued_ = 0;
    std::size_t overhead_;
};

}  // namespace penstock
