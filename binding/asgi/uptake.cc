#include "asgi/uptake.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "py/types.h"
#include "transport/socket_transport.h"
#include "transport/tls_transport.h"

namespace penstock::py {
namespace {

TlsSession* session_of(const HttpConnection* connection) noexcept {
    return connection->is_tls ? reinterpret_cast<TlsTransport*>(connection->transport)->session
                              : nullptr;
}

// nullptr where there is none, or it is of another make.
SocketTransport* socket_of(const HttpConnection* connection) noexcept {
    const TlsSession* session = session_of(connection);
    PyObject* found = session != nullptr ? session->below() : connection->transport;
    bool is_ours = found != nullptr && Py_TYPE(found) == connection->server->loop->state->transport;
    return is_ours && as_transport(found)->endpoint != nullptr ? as_transport(found) : nullptr;
}

std::size_t unsent(const HttpConnection* connection) noexcept {
    const TlsSession* session = session_of(connection);
    const SocketTransport* socket = socket_of(connection);
    return (session != nullptr ? session->write_buffer_size() : 0) +
           (socket != nullptr ? stream_of(socket).queued() : 0);
}

bool read_acked(const HttpConnection* connection, std::uint64_t& acked) noexcept {
    const SocketTransport* socket = socket_of(connection);
    tcp_info info{};
    socklen_t size = sizeof info;
    constexpr socklen_t kNeeded = offsetof(tcp_info, tcpi_bytes_acked) + sizeof(std::uint64_t);
    bool is_told = socket != nullptr &&
                   getsockopt(socket->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                   size >= kNeeded;
    acked = info.tcpi_bytes_acked;
    return is_told;
}

// A number that grows by what the client takes.
std::uint64_t taken(const HttpConnection* connection) noexcept {
    std::uint64_t acked = 0;
    return read_acked(connection, acked) ? acked : connection->given - unsent(connection);
}

}  // namespace

bool knows_uptake(const HttpConnection* connection) noexcept {
    std::uint64_t acked = 0;
    return read_acked(connection, acked);
}

bool has_unsent(const HttpConnection* connection) noexcept { return unsent(connection) > 0; }

bool has_unread(const HttpConnection* connection) noexcept {
    const SocketTransport* socket = socket_of(connection);
    char byte = 0;
    return socket != nullptr && recv(socket->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool has_ended(const HttpConnection* connection) noexcept {
    const SocketTransport* socket = socket_of(connection);
    if (socket == nullptr) return false;
    pollfd asked{socket->fd, POLLRDHUP, 0};
    return poll(&asked, 1, 0) > 0;
}

bool Uptake::check(const HttpConnection* connection, TimePoint now) noexcept {
    const Deadlines& deadlines = connection->server->service->deadlines;
    bool is_sending = connection->exchange != nullptr && connection->exchange->is_sending_file;
    if (deadlines.write <= Duration::zero() || (!is_sending && !has_unsent(connection))) {
        since_ = TimePoint{};
        return true;
    }
    std::uint64_t sofar = taken(connection);
    bool begins = since_ == TimePoint{};
    if (!begins && now - since_ <= deadlines.write) return true;
    double seconds = std::chrono::duration<double>(now - since_).count();
    double wanted = seconds * static_cast<double>(deadlines.body_rate);
    bool is_late = !begins && static_cast<double>(sofar - taken_) <= wanted;
    since_ = now;
    taken_ = sofar;
    return !is_late;
}

}  // namespace penstock::py
