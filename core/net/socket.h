// The socket calls that the loop makes, each once: interrupted calls are tried again, a result
// below zero is -errno, nothing throws and no call raises SIGPIPE. The fd is borrowed.
#pragma once

#include <sys/uio.h>

#include <sys/types.h>
#include <cerrno>
#include <cstddef>
#include <span>

#include "base/unique_fd.h"
#include "net/address.h"

namespace penstock::socket {

constexpr bool would_block(ssize_t result) noexcept {
    return result == -EAGAIN || result == -EWOULDBLOCK;
}

// A non-blocking socket that is not inherited.
int open(int family, int type, int protocol, UniqueFd& out) noexcept;
int bind(int fd, const Address& address) noexcept;
int listen(int fd, int backlog) noexcept;

// The next connection of a listening socket, non-blocking and not inherited: 0 and `out`, or
// -errno, which is -EAGAIN where none waits.
int accept(int fd, UniqueFd& out, Address& peer) noexcept;
// -EINPROGRESS where the answer comes when the socket is writable: ask finish_connect() then.
int start_connect(int fd, const Address& address) noexcept;
int finish_connect(int fd) noexcept;

ssize_t recv(int fd, std::span<std::byte> into) noexcept;
ssize_t send(int fd, std::span<const std::byte> bytes) noexcept;
// The same, which never wait, however the socket is set.
ssize_t try_recv(int fd, std::span<std::byte> into) noexcept;
ssize_t try_recv(int fd, std::span<const iovec> pieces) noexcept;  // one after the other
ssize_t try_send(int fd, std::span<const std::byte> bytes) noexcept;
ssize_t send(int fd, std::span<const iovec> pieces) noexcept;  // at most IOV_MAX are looked at
int shutdown_write(int fd) noexcept;
// A datagram and where it came from: an address of no family where the sender has no name.
ssize_t recv_from(int fd, std::span<std::byte> into, Address& from) noexcept;
// To the peer of a connected socket where `to` has no family.
ssize_t send_to(int fd, std::span<const std::byte> bytes, const Address& to) noexcept;

int set_nonblocking(int fd) noexcept;
// Small writes leave at once instead of waiting for the peer's acknowledgement. Nothing happens
// where the socket isn't TCP.
int set_nodelay(int fd) noexcept;
int pending_error(int fd) noexcept;  // -SO_ERROR, which the call clears

}  // namespace penstock::socket
