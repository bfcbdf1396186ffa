// What a loop has of the network: its transports, its accept loops, its look-ups, and the memory
// that reads go through. One a loop, on the loop's thread.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "loop/loop.h"
#include "transport/lookups.h"

namespace penstock::py {

struct Transport;

class Network {
public:
    explicit Network(Loop* loop);  // throws std::bad_alloc
    // The loop closes: nothing is watched, accepted or looked up any more. The loop must not point
    // here any longer: letting go of things may run Python code.
    ~Network();
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    // Every transport that isn't lost is linked; none is owned, but a transport that is watched is
    // kept alive (hold()).
    void link(Transport* transport);  // throws std::bad_alloc
    static void unlink(Transport* transport) noexcept;
    // A new list of those that `server` has accepted; nullptr with MemoryError set.
    PyObject* transports_of(const PyObject* server) const noexcept;
    Transport* at(int fd) const noexcept {
        auto index = static_cast<std::size_t>(fd);
        return fd >= 0 && index < by_fd_.size() ? by_fd_[index] : nullptr;
    }

    PyObject* acceptors() const noexcept { return acceptors_; }  // dict: socket -> acceptor
    Lookups& lookups() noexcept { return lookups_; }

    // Where a read goes whose size is unknown: what it brings is copied.
    std::span<std::byte> scratch() noexcept { return {scratch_.get(), kMostBytesARead}; }
    // The same for what is deciphered.
    std::span<std::byte> plaintext() noexcept { return plaintext_; }
    // A bytes object of at least `size` bytes for a large read, which nobody else has, as a new
    // reference. nullptr with MemoryError set. Once everybody has let go of it, it serves again:
    // what malloc() gives fresh costs a page fault each 4 KiB.
    PyObject* take_block(std::size_t size) noexcept;
    // Of the next sock_recv(), by what the last one has brought; 0: through scratch().
    std::size_t& sock_read_size() noexcept { return sock_read_size_; }

    // Whether there is time for another step of a TLS handshake, which takes a millisecond with an
    // RSA key of 2048 bits, and several with longer ones. What many clients send at once would keep
    // all others waiting until the last of them is through: so, each time the kernel has been
    // asked, a slice of time is theirs, and one step at least.
    bool takes_handshake() noexcept;

    int traverse(visitproc visit, void* arg) const noexcept;

    static constexpr std::size_t kMostBytesARead = std::size_t{256} * 1024;

private:
    Loop* loop_;
    ListNode transports_{&transports_, &transports_};
    std::vector<Transport*> by_fd_;
    PyObject* acceptors_;
    Lookups lookups_;
    std::unique_ptr<std::byte[]> scratch_;
    std::array<std::byte, std::size_t{32} * 1024> plaintext_;
    struct Block {
        PyObject* bytes = nullptr;
        std::size_t capacity = 0;
    };
    TimePoint handshaken_;  // Reactor::polled() of the last step of a handshake
    std::size_t sock_read_size_ = 0;
    std::array<Block, 8> blocks_;  // the last used first; some may be in use elsewhere
};

}  // namespace penstock::py
