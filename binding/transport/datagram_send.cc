// What goes out. A datagram has left when sendto() returns where the socket takes it; else it is
// queued, without a copy where nobody can change it.
#include <optional>

#include "loop/slow_call.h"
#include "net/socket.h"
#include "py/arguments.h"
#include "py/types.h"
#include "transport/datagram_transport.h"
#include "transport/network.h"
#include "transport/sockaddr.h"
#include "transport/view.h"

namespace penstock::py {
namespace {

constexpr const char* kFatalError = "Fatal write error on datagram transport";

// The pending exception is what asyncio's transport makes of it: the protocol's to know where it
// is an OSError, else fatal. False with an exception set.
bool send_failed(DatagramTransport* transport) noexcept {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
        return false;
    // Nobody is there to tell once connection_lost() was called.
    if (transport->loop == nullptr) return false;
    if (PyErr_ExceptionMatches(PyExc_OSError)) return tell_error(transport);
    return fatal_error(transport, take_exception(), kFatalError);
}

bool raise_errno(int error) noexcept {
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

bool keep(DatagramTransport* transport, const View& view, const Address& address) noexcept {
    if (transport->lost > 0) return true;  // it is about to be closed, and nothing would flush it
    if (!check_open(transport->loop) || !remember_write_context(transport)) return false;
    std::optional<Chunk> bytes = view.rest(0);
    if (!bytes) return PyErr_NoMemory(), false;
    int error = transport->datagrams->socket.enqueue(std::move(*bytes), address);
    settle_hold(transport);
    if (error < 0) return raise_errno(-error);
    return maybe_pause_protocol(transport);
}

// False where `object` is no plain address of the socket's family.
bool find_address(DatagramTransport* transport, PyObject* object, Address& out) noexcept {
    // An answer goes to the very object that came with the question.
    if (object == transport->known && object != Py_None) {
        out = transport->datagrams->address;
        return true;
    }
    std::optional<Address> found = sockaddr_of(object, transport->family);
    if (found) out = *found;
    return found.has_value();
}

// The address that a host name stands for, where the datagram has to wait. False with or without
// an exception set.
bool look_up(DatagramTransport* transport, PyObject* object, Address& out) noexcept {
    Ref<> module = Ref<>::steal(PyImport_ImportModule("socket"));
    Ref<> function =
        Ref<>::steal(module ? PyObject_GetAttrString(module.get(), "getaddrinfo") : nullptr);
    bool is_ip = transport->family == AF_INET || transport->family == AF_INET6;
    if (!function || !is_ip || !PyTuple_Check(object) || PyTuple_GET_SIZE(object) < 2) return false;
    Ref<> found = Ref<>::steal(
        PyObject_CallFunction(function.get(), "OOii", PyTuple_GET_ITEM(object, 0),
                              PyTuple_GET_ITEM(object, 1), transport->family, SOCK_DGRAM));
    Ref<> first = Ref<>::steal(found ? PySequence_GetItem(found.get(), 0) : nullptr);
    Ref<> address = Ref<>::steal(first ? PySequence_GetItem(first.get(), 4) : nullptr);
    std::optional<Address> plain =
        address ? sockaddr_of(address.get(), transport->family) : std::nullopt;
    if (plain) out = *plain;
    return plain.has_value();
}

// To a host name, or where only the socket object knows the way.
bool send_by_socket(DatagramTransport* transport, PyObject* data, const View& view,
                    PyObject* object) noexcept {
    Address address;
    // Others wait already: it takes its turn behind them.
    if (!transport->datagrams->socket.empty()) {
        if (look_up(transport, object, address)) return keep(transport, view, address);
        if (PyErr_Occurred()) return send_failed(transport);
    }
    Ref<> sock = Ref<>::borrow(transport->sock);
    Ref<> sent = Ref<>::steal(PyObject_CallMethod(sock.get(), "sendto", "OO", data, object));
    if (sent) return true;
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError)) return send_failed(transport);
    PyObject* would_block = take_exception();
    if (look_up(transport, object, address)) {
        Py_DECREF(would_block);
        return keep(transport, view, address);
    }
    // Only the socket object can send there, and only now.
    PyErr_Clear();
    raise_exception(would_block);
    return send_failed(transport);
}

bool send_to(DatagramTransport* transport, PyObject* data, PyObject* object) noexcept {
    View view;
    if (!view.open(data)) return send_failed(transport);
    Address address;
    if (!transport->has_peer) {
        if (!find_address(transport, object, address))
            return send_by_socket(transport, data, view, object);
        if (PySys_Audit("socket.sendto", "OO", transport->sock, object) < 0)
            return send_failed(transport);
        if (transport->datagrams == nullptr) return true;  // closed by the hook
    }
    int error = transport->datagrams->socket.send(view.bytes(), address);
    if (error == 0) [[likely]]
        return true;
    if (socket::would_block(error)) return keep(transport, view, address);
    raise_errno(-error);
    return send_failed(transport);
}

bool check_remote(const DatagramTransport* transport, PyObject*& object) noexcept {
    if (object != Py_None && object != transport->remote) {
        int is_same = PyObject_RichCompareBool(object, transport->remote, Py_EQ);
        if (is_same == 0)
            PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S",
                         transport->remote);
        if (is_same <= 0) return false;
    }
    object = transport->remote;
    return true;
}

}  // namespace

PyObject* transport_sendto(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) {
    DatagramTransport* transport = as_datagram_transport(self);
    static constexpr const char* kNames[] = {"data", "addr"};
    PyObject* given[] = {nullptr, Py_None};
    if (!bind({"sendto", kNames, 2, 1}, args, count, names, given)) return nullptr;
    auto [data, address] = given;
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) [[unlikely]]
        return PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not '%s'",
                            type_name(data));
    if (!kHas313) {
        int is_full = PyObject_IsTrue(data);
        if (is_full <= 0) return none_if(is_full == 0);
    }
    if (transport->remote != nullptr) {
        if (!check_remote(transport, address)) return nullptr;
        if (transport->lost > 0)
            return warn_of_lost(transport->lost, "socket.send() raised exception.");
    }
    if (transport->sock == nullptr)
        return PyErr_Format(PyExc_AttributeError, "'NoneType' object has no attribute 'sendto'");
    if (transport->loop->is_closed) return check_open(transport->loop), nullptr;
    return none_if(send_to(transport, data, address));
}

namespace {

// From the loop: the rest in the context of writing.
template <class Body>
void in_write_context(DatagramTransport* transport, Body body) noexcept {
    Ref<DatagramTransport> held = Ref<DatagramTransport>::borrow(transport);
    Loop* loop = transport->loop;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport), "_sendto_ready", transport->protocol);
    settle_hold(transport);
    bool done = false;
    bool entered = run_in_context(loop, write_context(transport), true, [&] { done = body(); });
    if (!entered || !done) report_callback(loop, transport, "_sendto_ready");
}

}  // namespace

void DatagramEndpoint::on_written() noexcept {
    in_write_context(transport_, [transport = transport_] { return after_write(transport); });
}

void DatagramEndpoint::on_write_error(int error) noexcept {
    in_write_context(transport_, [transport = transport_, error] {
        raise_errno(error);
        return tell_error(transport);
    });
}

}  // namespace penstock::py
