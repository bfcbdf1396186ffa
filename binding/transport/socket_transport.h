// _core.SocketTransport: asyncio's stream transport over a connected socket. What
// pipe_transport.h has is of this struct too: a pipe is a stream that goes one way.
#pragma once

#include <cstddef>

#include "net/stream.h"
#include "transport/transport.h"

namespace penstock::py {

struct SocketTransport;

// The kernel's side of a transport.
class Connection final : public Endpoint {
public:
    Connection(SocketTransport* transport, Backend& backend, int fd, Stream::Kind kind) noexcept
        : stream(backend, fd, *this, kind), transport_(transport) {}
    ~Connection() override;

    Channel& channel() noexcept override { return stream; }
    void on_readable() noexcept override;
    void on_written() noexcept override;
    void on_write_error(int error) noexcept override;

    Stream stream;

private:
    SocketTransport* transport_;
};

struct SocketTransport : Transport {
    Connection* connection;  // the endpoint, while there is one
    PyObject* drained;       // the future of who sends a file, while it waits
    std::size_t read_size;   // of the next read; 0: through the loop's scratch memory
    unsigned dropped;        // a pipe's writes that failed or came too late
    bool has_eof, is_buffered, is_sending_file;
};

inline SocketTransport* as_transport(PyObject* object) noexcept {
    return reinterpret_cast<SocketTransport*>(object);
}

struct TransportOptions {
    PyObject* sock;  // or what a pipe was given as
    PyObject* protocol;
    PyObject* waiter;    // nullptr or None for none
    PyObject* extra;     // as above, else a dict that the transport keeps
    PyObject* server;    // as above
    PyObject* peername;  // nullptr: the socket is asked
};

PyObject* make_socket_transport(Loop* loop, const TransportOptions& options) noexcept;

// The parts that pipes have as well.
// Of a number that somebody else watches (is_shared) a duplicate is. False with an exception set.
bool open_connection(SocketTransport* transport, bool is_shared) noexcept;
PyObject* transport_set_protocol(PyObject* self, PyObject* protocol);
PyObject* transport_can_write_eof(PyObject*, PyObject*);
int transport_traverse(PyObject* self, visitproc visit, void* arg);
int transport_clear(PyObject* self);

// read.cc
void read_ready(SocketTransport* transport) noexcept;
// The block was made for `size` bytes.
void resize_block(PyObject* block, std::size_t size) noexcept;

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
