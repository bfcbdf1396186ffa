#include "net/socket.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>

#include "base/retried.h"

namespace penstock::socket {

int open(int family, int type, int protocol, UniqueFd& out) noexcept {
    int fd =
        retried([&] { return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol); });
    if (fd < 0) return fd;
    out.reset(fd);
    return 0;
}

int bind(int fd, const Address& address) noexcept {
    return retried([&] { return ::bind(fd, address.get(), address.size()); });
}

int listen(int fd, int backlog) noexcept {
    return retried([&] { return ::listen(fd, backlog); });
}

int accept(int fd, UniqueFd& out, Address& peer) noexcept {
    sockaddr_storage storage;
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    int accepted = retried([&] {
        size = sizeof storage;
        return ::accept4(fd, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    });
    if (accepted < 0) return accepted;
    out.reset(accepted);
    peer = Address(address, size);
    return 0;
}

// An interrupted connect goes on in the kernel, and calling it again would answer EALREADY.
int start_connect(int fd, const Address& address) noexcept {
    if (::connect(fd, address.get(), address.size()) == 0) return 0;
    return errno == EINTR ? -EINPROGRESS : -errno;
}

int finish_connect(int fd) noexcept { return pending_error(fd); }

ssize_t recv(int fd, std::span<std::byte> into) noexcept {
    return retried([&] { return ::recv(fd, into.data(), into.size(), 0); });
}

ssize_t send(int fd, std::span<const std::byte> bytes) noexcept {
    return retried([&] { return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL); });
}

ssize_t try_recv(int fd, std::span<std::byte> into) noexcept {
    return retried([&] { return ::recv(fd, into.data(), into.size(), MSG_DONTWAIT); });
}

ssize_t try_recv(int fd, std::span<const iovec> pieces) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // recvmsg(2) only reads them
    message.msg_iovlen = pieces.size();
    return retried([&] { return ::recvmsg(fd, &message, MSG_DONTWAIT); });
}

ssize_t try_send(int fd, std::span<const std::byte> bytes) noexcept {
    return retried(
        [&] { return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT); });
}

ssize_t send(int fd, std::span<const iovec> pieces) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg(2) only reads them
    message.msg_iovlen = std::min<std::size_t>(pieces.size(), IOV_MAX);
    return retried([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); });
}

ssize_t recv_from(int fd, std::span<std::byte> into, Address& from) noexcept {
    sockaddr_storage storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    socklen_t size = 0;
    ssize_t received = retried([&] {
        size = sizeof storage;
        return ::recvfrom(fd, into.data(), into.size(), 0, address, &size);
    });
    if (received >= 0) from = Address(address, size);
    return received;
}

ssize_t send_to(int fd, std::span<const std::byte> bytes, const Address& to) noexcept {
    const sockaddr* address = to.size() > 0 ? to.get() : nullptr;
    return retried(
        [&] { return ::sendto(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL, address, to.size()); });
}

int shutdown_write(int fd) noexcept { return ::shutdown(fd, SHUT_WR) < 0 ? -errno : 0; }

int set_nonblocking(int fd) noexcept {
    int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    if (flags & O_NONBLOCK) return 0;
    return ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int set_nodelay(int fd) noexcept {
    int on = 1;
    if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0) return 0;
    return errno == EOPNOTSUPP || errno == ENOPROTOOPT ? 0 : -errno;
}

int pending_error(int fd) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

}  // namespace penstock::socket
