// _core.SocketTransport: asyncio's stream transport over a connected socket. What
// pipe_transport.h has is of this struct too: a pipe is a stream that goes one way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "net/stream.h"
#include "transport/transport.h"

namespace penstock::py {

struct SocketTransport;

// The kernel's side of a transport, in which it lies.
class Connection final : public Endpoint {
public:
    Connection(Backend& backend, int fd, Stream::Kind kind) noexcept
        : stream(backend, fd, *this, kind) {}

    Channel& channel() noexcept override { return stream; }
    void destroy() noexcept override { std::destroy_at(this); }
    void on_readable() noexcept override;
    void on_written() noexcept override;
    void on_queued() noexcept override;
    void on_write_error(int error) noexcept override;

    Stream stream;

private:
    SocketTransport* transport() noexcept;
};

struct SocketTransport : Transport {
    unsigned dropped;         // a pipe's writes that failed or came too late
    std::uint32_t read_size;  // of the next read; 0: through the loop's scratch memory
    alignas(Connection) std::byte room[sizeof(Connection)];  // the endpoint's, while there is one
};

#if PY_VERSION_HEX < 0x030E0000  // from there on an object's head leaves no padding to fill
// With the 16 bytes that the collector puts before it, pymalloc's class of 240.
static_assert(sizeof(SocketTransport) == 224);
#endif

inline SocketTransport* Connection::transport() noexcept {
    constexpr std::size_t kRoom = sizeof(SocketTransport) - sizeof(Connection);  // it is the last
    return reinterpret_cast<SocketTransport*>(reinterpret_cast<std::byte*>(this) - kRoom);
}

// While there is an endpoint.
inline Stream& stream_of(const SocketTransport* transport) noexcept {
    return static_cast<Connection*>(transport->endpoint)->stream;
}

inline SocketTransport* as_transport(PyObject* object) noexcept {
    return reinterpret_cast<SocketTransport*>(object);
}

struct TransportOptions {
    PyObject* sock;  // or what a pipe was given as
    PyObject* protocol;
    PyObject* waiter;               // nullptr or None for none
    PyObject* extra;                // as above, else a dict that the transport keeps
    PyObject* server;               // as above
    const Address* peer = nullptr;  // nullptr: the socket is asked
    // In the place of `sock`, of an accepted connection over IPv4 or IPv6: its object is made when
    // it is needed, as a stream's, its `proto` that of TCP or 0. Empty once the transport has it.
    UniqueFd* accepted = nullptr;
    bool names_tcp = false;
};

PyObject* make_socket_transport(Loop* loop, const TransportOptions& options) noexcept;

// The parts that pipes have as well.
// Of a number that somebody else watches (is_shared) a duplicate is. False with an exception set.
bool open_connection(SocketTransport* transport, bool is_shared) noexcept;
PyObject* transport_set_protocol(PyObject* self, PyObject* protocol);
PyObject* transport_can_write_eof(PyObject*, PyObject*);

// read.cc
void read_ready(SocketTransport* transport) noexcept;
// Room for what the last read brought and a little more, so that a full one tells that more
// waits; 0 where it brought little.
std::uint32_t next_read_size(std::size_t received, std::size_t capacity) noexcept;
// Of Network::take_block().
std::span<std::byte> bytes_memory(PyObject* block) noexcept;
// The block was made for `size` bytes.
void resize_block(PyObject* block, std::size_t size) noexcept;
// The first `size` bytes of what the block was taken for: itself, unless whoever keeps it would
// keep more emptiness than bytes. nullptr with MemoryError set.
PyObject* fitted_block(Ref<> block, std::size_t size) noexcept;

// write.cc
PyObject* transport_write(PyObject* self, PyObject* data);
PyObject* transport_writelines(PyObject* self, PyObject* list);
// For a native protocol: as write(), of memory that is the caller's again afterwards.
bool write_bytes(SocketTransport* transport, std::span<const std::byte> bytes) noexcept;
PyObject* transport_write_eof(PyObject* self, PyObject*);

// sendfile.cc
PyObject* transport_begin_sendfile(PyObject* self, PyObject*);
PyObject* transport_end_sendfile(PyObject* self, PyObject*);
PyObject* transport_wait_writable(PyObject* self, PyObject*);
// The queue is empty and the socket takes more.
void wake_file_sender(SocketTransport* transport) noexcept;
// The connection is lost.
void fail_file_sender(SocketTransport* transport, PyObject* exception) noexcept;

// pipe_transport.cc
void pipe_ended(SocketTransport* transport) noexcept;
void pipe_reader_left(SocketTransport* transport) noexcept;

}  // namespace penstock::py
