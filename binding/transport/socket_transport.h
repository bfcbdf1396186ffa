// _core.SocketTransport: asyncio's stream transport over a connected socket. What
// pipe_transport.h has is of this struct too: a pipe is a stream that goes one way.
//
// Who keeps whom alive. The socket object owns the fd, and the transport owns the socket object:
// it closes it once, after connection_lost(). A transport that the kernel watches is kept alive
// by its loop (is_held), as asyncio's selector keeps its handles; one that nobody watches and
// nobody has dies, closes its socket and warns.
//
// Every call of the protocol may do anything to the transport: pause, close, abort it, give it
// another protocol. So whoever calls holds a reference to the transport and to the protocol, and
// looks at the transport's state again afterwards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "loop/loop.h"
#include "net/stream.h"
#include "py/python.h"
#include "py/ref.h"
#include "transport/stream_protocol.h"

namespace penstock::py {

struct SocketTransport;

// The kernel's side of a transport.
class Connection final : public Stream::Observer {
public:
    Connection(SocketTransport* transport, Backend& backend, int fd, Stream::Kind kind) noexcept
        : stream(backend, fd, *this, kind), transport_(transport) {}

    void on_readable() noexcept override;
    void on_written() noexcept override;
    void on_write_error(int error) noexcept override;

    Stream stream;

private:
    SocketTransport* transport_;
};

enum class TransportKind : std::uint8_t {
    kSocket,
    kReadPipe,
    kWritePipe,
    kWriteDevice,  // as kWritePipe, but being readable tells nothing of a peer's end
};

struct SocketTransport {
    PyObject_HEAD PyObject* extra;  // the slot of asyncio.BaseTransport
    Loop* loop;  // strong; nullptr, as the next five, once connection_lost() was called
    Connection* connection;
    PyObject* sock;  // or what a pipe was given as
    PyObject* protocol;
    StreamProtocol* native;   // the protocol's own, or nullptr
    PyObject* server;         // or nullptr
    PyObject* context;        // of all its calls, from CPython 3.15 on; nullptr before
    PyObject* read_context;   // the one in which reading was started or resumed
    PyObject* write_context;  // the one in which the queue began to fill
    PyObject* drained;        // the future of who sends a file, while it waits
    PyObject* dict;
    PyObject* weakrefs;
    ListNode node;  // in Network's list
    std::size_t high_water, low_water;
    std::size_t read_size;  // of the next read; 0: through the loop's scratch memory
    int fd;
    unsigned lost;     // connection_lost() is due; a socket's writes since, roughly
    unsigned dropped;  // a pipe's writes that failed or came too late
    TransportKind kind;
    bool is_held, is_closing, is_paused, has_eof, is_protocol_paused, is_buffered, is_sending_file;
};

inline SocketTransport* as_transport(PyObject* object) noexcept {
    return reinterpret_cast<SocketTransport*>(object);
}
inline SocketTransport* transport_of(const ListNode* node) noexcept {
    auto* start = reinterpret_cast<const std::byte*>(node) - offsetof(SocketTransport, node);
    return reinterpret_cast<SocketTransport*>(const_cast<std::byte*>(start));
}

inline bool is_pipe(const SocketTransport* transport) noexcept {
    return transport->kind != TransportKind::kSocket;
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

// The parts that all kinds have. They return false with an exception set.
bool open_connection(SocketTransport* transport) noexcept;
bool schedule_start(SocketTransport* transport, PyObject* waiter) noexcept;
PyObject* transport_start(PyObject* self, PyObject* waiter);
PyObject* transport_get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names);
PyObject* transport_set_protocol(PyObject* self, PyObject* protocol);
PyObject* transport_get_protocol(PyObject* self, PyObject*);
PyObject* transport_is_closing(PyObject* self, PyObject*);
PyObject* transport_can_write_eof(PyObject*, PyObject*);
PyObject* transport_get_loop(PyObject* self, void*);
PyObject* transport_get_fd(PyObject* self, void*);
int transport_traverse(PyObject* self, visitproc visit, void* arg);
int transport_clear(PyObject* self);
void transport_dealloc(PyObject* self);

template <PyObject* SocketTransport::*Field>
PyObject* get_object(PyObject* self, void*) {
    PyObject* value = as_transport(self)->*Field;
    return Py_NewRef(value != nullptr ? value : Py_None);
}
template <bool SocketTransport::*Field>
PyObject* get_flag(PyObject* self, void*) {
    return PyBool_FromLong(as_transport(self)->*Field);
}
// The context for what is watched from now on, as a new reference; nullptr with an exception set.
// As asyncio's: the one of whoever asks for it, from CPython 3.15 on the connection's own.
PyObject* watching_context(const SocketTransport* transport) noexcept;

// After the interest in the fd has changed. The caller holds a reference.
void settle_hold(SocketTransport* transport) noexcept;

// read.cc
void read_ready(SocketTransport* transport) noexcept;
// The block was made for `size` bytes.
void resize_block(PyObject* block, std::size_t size) noexcept;
PyObject* transport_pause_reading(PyObject* self, PyObject*);
PyObject* transport_resume_reading(PyObject* self, PyObject*);
PyObject* transport_is_reading(PyObject* self, PyObject*);
bool start_reading(SocketTransport* transport) noexcept;  // false with OSError set

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
// The connection is lost. False with an exception set.
bool fail_file_sender(SocketTransport* transport, PyObject* exception) noexcept;

// flow.cc
// Both return false with KeyboardInterrupt or SystemExit set.
bool maybe_pause_protocol(SocketTransport* transport) noexcept;
bool maybe_resume_protocol(SocketTransport* transport) noexcept;
void set_default_limits(SocketTransport* transport) noexcept;
// The arguments of set_write_buffer_limits() and its like: (high=None, low=None), in bytes.
bool parse_limits(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* names,
                  std::size_t default_high, std::size_t& high, std::size_t& low) noexcept;
PyObject* transport_get_write_buffer_size(PyObject* self, PyObject*);
PyObject* transport_get_write_buffer_limits(PyObject* self, PyObject*);
PyObject* transport_set_write_buffer_limits(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                            PyObject* names);

// pipe_transport.cc
void pipe_ended(SocketTransport* transport) noexcept;
void pipe_reader_left(SocketTransport* transport) noexcept;

// close.cc
PyObject* transport_close(PyObject* self, PyObject*);
PyObject* transport_abort(PyObject* self, PyObject*);
PyObject* transport_force_close(PyObject* self, PyObject* exception);
PyObject* transport_call_connection_lost(PyObject* self, PyObject* exception);
void finalize_transport(PyObject* self);
// Takes over `exception`. As asyncio: OSErrors are the peer's doing and no news, all else is
// reported; the connection is lost either way. False with an exception set where that fails.
bool fatal_error(SocketTransport* transport, PyObject* exception, const char* message) noexcept;
bool close_transport(SocketTransport* transport) noexcept;
bool lose_connection(SocketTransport* transport, PyObject* exception) noexcept;
// The transport is over without connection_lost(), and its fd is left open.
void disown(SocketTransport* transport) noexcept;

// What has left a protocol's method: ends the run for KeyboardInterrupt and SystemExit, else is
// fatal. For calls that come from the loop.
void contain(SocketTransport* transport, Loop* loop, const char* message) noexcept;
// The same for what is no fault of the protocol's: reported as an exception in `callback`.
void report_callback(Loop* loop, const char* callback,
                     const char* type = "SocketTransport") noexcept;

// loop.call_soon(callback, argument), in the transport's context if it has one of its own
bool call_soon(SocketTransport* transport, PyObject* callback, PyObject* argument) noexcept;

}  // namespace penstock::py
