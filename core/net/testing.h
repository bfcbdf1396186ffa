// What the tests of this folder share: connected sockets on loopback, and turns of a backend.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

#include "net/socket.h"
#include "reactor/testing/backend.h"

namespace penstock::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

inline UniqueFd listening(Address& address) {
    UniqueFd fd;
    EXPECT_EQ(socket::open(AF_INET, SOCK_STREAM, 0, fd), 0);
    EXPECT_EQ(socket::bind(fd.get(), *Address::parse("127.0.0.1", 0)), 0);
    EXPECT_EQ(socket::listen(fd.get(), 128), 0);
    address = Address::local_of(fd.get());
    return fd;
}

inline UniqueFd connecting(const Address& address) {
    UniqueFd fd;
    EXPECT_EQ(socket::open(AF_INET, SOCK_STREAM, 0, fd), 0);
    int error = socket::start_connect(fd.get(), address);
    EXPECT_TRUE(error == 0 || error == -EINPROGRESS);
    return fd;
}

inline bool becomes(int fd, short events) {
    pollfd poll{fd, events, 0};
    return ::poll(&poll, 1, 10'000) == 1;
}

struct Connection {
    UniqueFd near, far;
    Connection() {
        Address address, peer;
        UniqueFd listener = listening(address);
        near = connecting(address);
        EXPECT_TRUE(becomes(listener.get(), POLLIN));
        EXPECT_EQ(socket::accept(listener.get(), far, peer), 0);
        EXPECT_TRUE(becomes(near.get(), POLLOUT));
        EXPECT_EQ(socket::finish_connect(near.get()), 0);
        EXPECT_EQ(peer, Address::local_of(near.get()));
    }
};

struct Pipe {
    UniqueFd reading, writing;
    Pipe() {
        int fds[2];
        EXPECT_EQ(::pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
        reading.reset(fds[0]);
        writing.reset(fds[1]);
    }
};

// What `fd` gives until it would block, ends or fails.
inline std::string drain(int fd) {
    std::string all(1 << 16, '\0');
    std::size_t size = 0;
    for (;;) {
        if (all.size() - size < 1 << 16) all.resize(all.size() * 2);
        ssize_t count = socket::recv(
            fd, std::as_writable_bytes(std::span(all.data() + size, all.size() - size)));
        if (count <= 0) break;
        size += static_cast<std::size_t>(count);
    }
    all.resize(size);
    return all;
}

// One turn: waits for at most `timeout`, and delivers.
inline int turn(Backend& backend, Duration timeout = Duration::zero()) {
    int count = backend.wait(timeout);
    for (int i = 0; i < count; ++i) backend.deliver(static_cast<std::size_t>(i));
    return count;
}

}  // namespace penstock::testing
