// What every transport has: SocketTransport, which the pipes' are too, and DatagramTransport begin
// with it.
//
// Who keeps whom alive. The socket object owns the fd, and the transport owns the socket object:
// it closes it once, after connection_lost(). That of an accepted connection is made when somebody
// asks for it, and until then the transport owns the fd (owns_fd). A transport that the kernel
// watches is kept alive by its loop (is_held), as asyncio's selector keeps its handles; one that
// nobody watches and nobody has dies, closes its socket and warns.
//
// Every call of the protocol may do anything to the transport: pause, close, abort it, give it
// another protocol. So whoever calls holds a reference to the transport and to the protocol, and
// looks at the transport's state again afterwards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"
#include "loop/loop.h"
#include "net/address.h"
#include "net/channel.h"
#include "py/python.h"
#include "py/ref.h"
#include "transport/stream_protocol.h"

namespace penstock::py {

// The kernel's side of a transport.
class Endpoint : public Channel::Observer {
public:
    virtual Channel& channel() noexcept = 0;
    // Ends it, wherever it lies.
    virtual void destroy() noexcept = 0;

protected:
    ~Endpoint() = default;
};

enum class TransportKind : std::uint8_t {
    kSocket,
    kDatagram,
    kReadPipe,
    kWritePipe,
    kWriteDevice,  // as kWritePipe, but being readable tells nothing of a peer's end
};

// What most transports never have, nor differ in: made when it is needed.
struct Seldom {
    std::size_t high_water, low_water;
    Py_ssize_t max_size;      // of a read, as the program has set it
    PyObject* write_context;  // the one in which the queue began to fill
    PyObject* drained;        // the future of who sends a file, while it waits
};

struct Transport {
    PyObject_HEAD PyObject* extra;  // the slot of asyncio.BaseTransport; see make_extra()
    Loop* loop;  // strong; nullptr, as the next four, once connection_lost() was called
    Endpoint* endpoint;
    PyObject* sock;  // or what a pipe was given as; nullptr while it is not made (owns_fd)
    PyObject* protocol;
    StreamProtocol* native;  // the protocol's own, or nullptr
    PyObject* server;        // or nullptr
#if PY_VERSION_HEX >= 0x030F0000
    PyObject* context;  // of all its calls
#endif
    PyObject* read_context;  // the one in which reading was started or resumed
    // Where `extra` is not made yet: a copy of our own, or nullptr; or, with has_short_peer, what a
    // sockaddr_in tells.
    union {
        sockaddr* peer;
        std::byte short_peer[8];
    };
    Seldom* seldom;  // or nullptr
    PyObject* dict;
    PyObject* weakrefs;
    ListNode node;       // in Network's list
    std::size_t caused;  // what reading has made ready ends there in the ready queue
    int fd;
    unsigned lost;  // connection_lost() is due; a socket's writes since, roughly
    TransportKind kind;
    bool is_held : 1, has_short_peer : 1;
    bool owns_fd : 1;                 // in the place of `sock`, of which the next two tell the rest
    bool is_ipv6 : 1, names_tcp : 1;  // its family; its `proto`, which is 0 otherwise
    bool is_closing, is_paused, is_protocol_paused;
    bool has_eof, is_buffered, is_sending_file;  // a stream's, here because they fill the last word
};

inline Transport* as_any_transport(PyObject* object) noexcept {
    return reinterpret_cast<Transport*>(object);
}
inline Transport* transport_of(const ListNode* node) noexcept {
    auto* start = reinterpret_cast<const std::byte*>(node) - offsetof(Transport, node);
    return reinterpret_cast<Transport*>(const_cast<std::byte*>(start));
}

// The context of all calls; nullptr where each has its own.
inline PyObject* own_context([[maybe_unused]] const Transport* transport) noexcept {
#if PY_VERSION_HEX >= 0x030F0000
    return transport->context;
#else
    return nullptr;
#endif
}
// Once something was queued: that has made a Seldom, which stays.
inline PyObject*& write_context(const Transport* transport) noexcept {
    return transport->seldom->write_context;
}

// connection_lost() was not called yet.
inline bool is_open(const Transport* transport) noexcept {
    return transport->sock != nullptr || transport->owns_fd;
}

inline bool is_pipe(const Transport* transport) noexcept {
    return transport->kind >= TransportKind::kReadPipe;
}

// transport.cc
// Whether instances of this class of asyncio's are an object head and the slot that we call
// `extra`; false with ImportError set.
bool check_base(PyObject* base, const char* name) noexcept;
// What get_extra_info() tells, added to `extra` where that is a dict. The addresses are asked now:
// a socket that is lost has none.
bool fill_extra(Transport* transport, PyObject* sock, PyObject* extra) noexcept;
// The same once somebody asks, or the connection is lost: most never ask, and it is half of what
// an idle connection costs. `peer` is what the kernel has told already, or nullptr.
bool put_off_extra(Transport* transport, PyObject* sock, const Address* peer) noexcept;
// Sees to `extra`, where it was put off. False with an exception set.
bool make_extra(Transport* transport) noexcept;
// Sees to `sock`, where it was put off. False with an exception set.
bool make_sock(Transport* transport) noexcept;
// A socket object that owns `fd`, which does not block, or nullptr with an exception set.
PyObject* new_socket(const State* state, int family, int type, int protocol, UniqueFd& fd) noexcept;
// Makes the endpoint known to the loop; where that fails an exception is set.
bool adopt_endpoint(Transport* transport, Endpoint* endpoint) noexcept;
// connection_made() first, then reading, then whoever waits.
bool schedule_start(Transport* transport, PyObject* waiter) noexcept;
// Whether all that reading made ready last time has run. Where a long turn is cut it may not
// have, and the protocol must not be called again before; the kernel will tell again.
inline bool may_read(const Transport* transport) noexcept {
    return transport->loop->reactor->ready().has_run(transport->caused);
}
inline void note_caused(Transport* transport) noexcept {
    if (transport->loop != nullptr && transport->loop->reactor != nullptr)
        transport->caused = transport->loop->reactor->ready().end();
}
// After the interest in the fd has changed. The caller holds a reference.
void settle_hold(Transport* transport) noexcept;
// What was written in this turn leaves now; where the kernel refuses it the connection is lost.
// False with an exception set.
bool settle_writes(Transport* transport) noexcept;
// loop.call_soon(callback, argument), in the transport's context if it has one of its own
bool call_soon(Transport* transport, PyObject* callback, PyObject* argument) noexcept;
// The context for what is watched from now on, as a new reference; nullptr with an exception set.
// As asyncio's: the one of whoever asks for it, from CPython 3.15 on the connection's own.
PyObject* watching_context(const Transport* transport) noexcept;
// The transport begins: from CPython 3.15 on the context is its own. False with an exception set.
bool take_context(Transport* transport) noexcept;
extern PyMemberDef transport_members[];
// `max_size`, of the types whose transports read.
PyObject* transport_get_max_size(PyObject* self, void*);
int transport_set_max_size(PyObject* self, PyObject* value, void*);
constexpr PyGetSetDef kMaxSize = {"max_size", transport_get_max_size, transport_set_max_size,
                                  "The most that is read at once.", nullptr};
PyObject* transport_start(PyObject* self, PyObject* waiter);
// (name, default=None). False with TypeError set.
bool read_extra_info_arguments(PyObject* const* args, Py_ssize_t count, PyObject* names,
                               PyObject*& name, PyObject*& fallback) noexcept;
PyObject* transport_get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names);
PyObject* transport_get_protocol(PyObject* self, PyObject*);
PyObject* transport_is_closing(PyObject* self, PyObject*);
PyObject* transport_repr(PyObject* self);
int transport_traverse(PyObject* self, visitproc visit, void* arg);
// By then finalize_transport() has closed the socket.
int transport_clear(PyObject* self);
void transport_dealloc(PyObject* self);

// read.cc
PyObject* transport_pause_reading(PyObject* self, PyObject*);
PyObject* transport_resume_reading(PyObject* self, PyObject*);
PyObject* transport_is_reading(PyObject* self, PyObject*);
bool start_reading(Transport* transport) noexcept;  // false with OSError set

// flow.cc
// How many bytes one read may bring.
std::size_t most_a_read(const Transport* transport) noexcept;
// Both return false with KeyboardInterrupt or SystemExit set.
bool maybe_pause_protocol(Transport* transport) noexcept;
bool maybe_resume_protocol(Transport* transport) noexcept;
// The arguments of set_write_buffer_limits() and its like: (high=None, low=None), in bytes.
bool parse_limits(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* names,
                  std::size_t default_high, std::size_t& high, std::size_t& low) noexcept;
// Something is about to be queued; where nothing is yet, the context is the one of what is called
// once the queue has drained. False with an exception set.
bool remember_write_context(Transport* transport) noexcept;
// What was queued has left, all of it or a part. In the context of writing; false with an exception
// set.
bool after_write(Transport* transport) noexcept;
// Made where there is none yet; nullptr with MemoryError set.
Seldom* need_seldom(Transport* transport) noexcept;
// Takes over `context`. False with an exception set, also where that is nullptr.
bool set_write_context(Transport* transport, PyObject* context) noexcept;
PyObject* transport_get_write_buffer_size(PyObject* self, PyObject*);
PyObject* transport_get_write_buffer_limits(PyObject* self, PyObject*);
PyObject* transport_set_write_buffer_limits(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                            PyObject* names);

// close.cc
PyObject* transport_close(PyObject* self, PyObject*);
PyObject* transport_abort(PyObject* self, PyObject*);
PyObject* transport_force_close(PyObject* self, PyObject* exception);
PyObject* transport_call_connection_lost(PyObject* self, PyObject* exception);
void finalize_transport(PyObject* self);
// Takes over `exception`. As asyncio: OSErrors are the peer's doing and no news, all else is
// reported; the connection is lost either way. False with an exception set where that fails.
bool fatal_error(Transport* transport, PyObject* exception, const char* message) noexcept;
bool close_transport(Transport* transport) noexcept;
bool lose_connection(Transport* transport, PyObject* exception) noexcept;
// The transport is over without connection_lost(), and its fd is left open.
void disown(Transport* transport) noexcept;
// The connection is lost, and a program that goes on writing should hear of it. `count` is of its
// writes since. None, or nullptr with an exception set.
PyObject* warn_of_lost(unsigned& count, const char* warning) noexcept;

// What has left a protocol's method: ends the run for KeyboardInterrupt and SystemExit, else is
// fatal. For calls that come from the loop.
void contain(Transport* transport, Loop* loop, const char* message) noexcept;
// The same for what is no fault of the protocol's: reported as an exception in `callback`.
void report_callback(Loop* loop, const Transport* transport, const char* callback) noexcept;

// Attributes that programs know of asyncio's transports.
template <PyObject* Transport::*Field>
PyObject* get_object(PyObject* self, void*) {
    PyObject* value = as_any_transport(self)->*Field;
    return Py_NewRef(value != nullptr ? value : Py_None);
}
template <bool Transport::*Field>
PyObject* get_flag(PyObject* self, void*) {
    return PyBool_FromLong(as_any_transport(self)->*Field);
}
PyObject* transport_get_loop(PyObject* self, void*);
PyObject* transport_get_extra(PyObject* self, void*);
int transport_set_extra(PyObject* self, PyObject* value, void*);
PyObject* transport_get_lost(PyObject* self, void*);
PyObject* transport_get_fd(PyObject* self, void*);
PyObject* transport_get_sock(PyObject* self, void*);

}  // namespace penstock::py
