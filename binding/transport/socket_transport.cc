#include "transport/socket_transport.h"

#include <new>

#include "loop/fd_table.h"
#include "loop/slow_call.h"
#include "net/socket.h"
#include "py/arguments.h"
#include "py/os_error.h"
#include "py/types.h"
#include "transport/acceptor.h"
#include "transport/datagram_transport.h"
#include "transport/methods.h"
#include "transport/network.h"
#include "transport/pipe_transport.h"
#include "transport/shared_methods.h"
#include "transport/tls_transport.h"

namespace penstock::py {
namespace {

// ---- making one ------------------------------------------------------------------------------

bool set_protocol(SocketTransport* transport, PyObject* protocol) noexcept {
    // Pipes know no buffered protocols, in asyncio either.
    int is_buffered = is_pipe(transport) ? 0
                                         : PyObject_IsInstance(
                                               protocol, transport->loop->state->buffered_protocol);
    if (is_buffered < 0) return false;
    transport->is_buffered = is_buffered != 0;
    transport->native = native_protocol(transport->loop->state, protocol);
    Py_XSETREF(transport->protocol, Py_NewRef(protocol));
    return true;
}

// A stream socket that was made without naming a protocol has 0 for TCP too; others don't mind.
bool set_nodelay(SocketTransport* transport) noexcept {
    if (transport->sock == nullptr) return socket::set_nodelay(transport->fd), true;
    Ref<> protocol =
        Ref<>::steal(PyObject_GetAttr(transport->sock, transport->loop->state->str_proto));
    if (!protocol) return false;
    if (PyLong_Check(protocol.get())) {
        long number = PyLong_AsLong(protocol.get());
        if (number == IPPROTO_TCP || number == 0) socket::set_nodelay(transport->fd);
    }
    return !PyErr_Occurred();
}

bool attach_to_server(SocketTransport* transport, PyObject* server) noexcept {
    if (server == nullptr || server == Py_None) return true;
    Ref<> done = Ref<>::steal(
        PyObject_CallMethodOneArg(server, transport->loop->state->str__attach, object(transport)));
    if (!done) return false;
    transport->server = Py_NewRef(server);
    return true;
}

// The transport does not come to be: the server must not wait for it.
void detach_from_server(SocketTransport* transport) noexcept {
    Ref<> server = Ref<>::steal(std::exchange(transport->server, nullptr));
    if (!server) return;
    PyObject* pending = take_exception();
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(
        server.get(), transport->loop->state->str__detach, object(transport)));
    if (!done) PyErr_WriteUnraisable(server.get());
    raise_exception(pending);
}

}  // namespace

bool open_connection(SocketTransport* transport, bool is_shared) noexcept {
    Loop* loop = transport->loop;
    if (!check_open(loop)) return false;  // again: the socket's own methods may have closed it
    auto* connection = new (static_cast<void*>(transport->room))
        Connection(loop->reactor->backend(), transport->fd,
                   is_pipe(transport) ? Stream::Kind::kPipe : Stream::Kind::kSocket);
    // Before the loop knows it, for the number stays whoever has it.
    int error = is_shared ? connection->stream.move_to_duplicate() : 0;
    if (error == 0) return adopt_endpoint(transport, connection);
    connection->destroy();
    raise_os_error(-error, "fcntl");
    return false;
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* transport_set_protocol(PyObject* self, PyObject* protocol) {
    SocketTransport* transport = as_transport(self);
    if (transport->loop == nullptr) {  // lost: kept for get_protocol(), as asyncio keeps it
        transport->native = nullptr;
        Py_XSETREF(transport->protocol, Py_NewRef(protocol));
        Py_RETURN_NONE;
    }
    return set_protocol(transport, protocol) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* transport_can_write_eof(PyObject*, PyObject*) { Py_RETURN_TRUE; }

// ---- type ------------------------------------------------------------------------------------

namespace {

PyObject* get_eof(PyObject* self, void*) { return PyBool_FromLong(as_transport(self)->has_eof); }

PyMethodDef methods[] = {
    {"write", method(one_argument<"write", "data", transport_write>), kFast,
     "write($self, data)\n--\n\nSend bytes; what the socket doesn't take is queued."},
    {"writelines", method(one_argument<"writelines", "list_of_data", transport_writelines>), kFast,
     "writelines($self, list_of_data)\n--\n\nSend several pieces of bytes at once."},
    {"write_eof", transport_write_eof, METH_NOARGS,
     "write_eof($self)\n--\n\nClose the write side once the queue has drained."},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, "can_write_eof($self)\n--\n\nTrue."},
    {"close", transport_close, METH_NOARGS,
     "close($self)\n--\n\nClose the connection once the queue has drained."},
    {"abort", transport_abort, METH_NOARGS,
     "abort($self)\n--\n\nClose the connection at once; what is queued is lost."},
    kIsClosing,
    kIsReading,
    kPauseReading,
    kResumeReading,
    {"get_extra_info", method(transport_get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information: socket, sockname, "
     "peername."},
    kSetProtocol,
    kGetProtocol,
    kGetWriteBufferSize,
    kGetWriteBufferLimits,
    kSetWriteBufferLimits,
    kStart,
    kCallConnectionLost,
    {"_force_close", transport_force_close, METH_O, nullptr},
    {"_begin_sendfile", transport_begin_sendfile, METH_NOARGS, nullptr},
    {"_end_sendfile", transport_end_sendfile, METH_NOARGS, nullptr},
    {"_wait_writable", transport_wait_writable, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    kMaxSize,
    {"_extra", transport_get_extra, transport_set_extra, nullptr, nullptr},
    {"_loop", transport_get_loop, nullptr, nullptr, nullptr},
    {"_sock", transport_get_sock, nullptr, nullptr, nullptr},
    {"_sock_fd", transport_get_fd, nullptr, nullptr, nullptr},
    {"_protocol", get_object<&SocketTransport::protocol>, nullptr, nullptr, nullptr},
    {"_server", get_object<&SocketTransport::server>, nullptr, nullptr, nullptr},
    {"_conn_lost", transport_get_lost, nullptr, nullptr, nullptr},
    {"_closing", get_flag<&SocketTransport::is_closing>, nullptr, nullptr, nullptr},
    {"_paused", get_flag<&SocketTransport::is_paused>, nullptr, nullptr, nullptr},
    {"_eof", get_eof, nullptr, nullptr, nullptr},
    {"_protocol_paused", get_flag<&SocketTransport::is_protocol_paused>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A stream transport over a TCP socket.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(transport_dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(transport_traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(transport_clear)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize_transport)},
                       {Py_tp_repr, reinterpret_cast<void*>(transport_repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, transport_members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.SocketTransport", sizeof(SocketTransport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

bool import_name(PyObject*& slot, const char* module, const char* name) noexcept {
    Ref<> imported = Ref<>::steal(PyImport_ImportModule(module));
    slot = imported ? PyObject_GetAttrString(imported.get(), name) : nullptr;
    return slot != nullptr;
}

}  // namespace

void Connection::on_readable() noexcept {
    Ref<SocketTransport> transport = Ref<SocketTransport>::borrow(this->transport());
    Loop* loop = transport->loop;
    // Whatever waits is reported again in the next turn, or run.
    if (loop->failure != nullptr || !may_read(transport.get())) return;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport.get()), "_read_ready", transport->protocol);
    read_ready(transport.get());
    note_caused(transport.get());
}

namespace {

// That of `sock`, which no transport has yet; -1 with an exception set.
int free_number(Loop* loop, PyObject* sock) noexcept {
    Ref<> free = Ref<>::steal(loop_ensure_fd_no_transport(object(loop), sock));
    return free ? fd_of(sock) : -1;
}

}  // namespace

PyObject* make_socket_transport(Loop* loop, const TransportOptions& options) noexcept {
    if (!check_open(loop)) return nullptr;
    int fd =
        options.accepted != nullptr ? options.accepted->get() : free_number(loop, options.sock);
    if (fd < 0) return nullptr;
    PyTypeObject* type = loop->state->transport;
    Ref<SocketTransport> transport =
        Ref<SocketTransport>::steal(as_transport(type->tp_alloc(type, 0)));
    if (!transport) return nullptr;
    transport->loop = as_loop(Py_NewRef(object(loop)));
    transport->fd = fd;
    if (!take_context(transport.get())) return nullptr;
    bool is_told = options.extra != nullptr && options.extra != Py_None;
    if (!(is_told ? fill_extra(transport.get(), options.sock, options.extra)
                  : put_off_extra(transport.get(), options.sock, options.peer)))
        return nullptr;
    if (options.accepted != nullptr) {
        options.accepted->release();
        transport->owns_fd = true;
        transport->is_ipv6 = options.peer->family() == AF_INET6;
        transport->names_tcp = options.names_tcp;
    } else {
        transport->sock = Py_NewRef(options.sock);
    }
    if (set_protocol(transport.get(), options.protocol) &&
        attach_to_server(transport.get(), options.server) &&
        open_connection(transport.get(), false) && set_nodelay(transport.get()) &&
        schedule_start(transport.get(), options.waiter))
        return object(transport.release());
    detach_from_server(transport.get());
    return nullptr;
}

PyObject* loop_make_transport(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              PyObject* names) {
    // sock, protocol, waiter, extra, server
    static constexpr const char* kNames[] = {"sock", "protocol", "waiter", "extra", "server"};
    PyObject* values[5] = {};
    if (count > 5)
        return PyErr_Format(PyExc_TypeError, "_make_transport() takes at most 5 arguments");
    for (Py_ssize_t i = 0; i < count; ++i) values[i] = args[i];
    Keywords given(args, count, names);
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        int index = 0;
        while (index < 5 && PyUnicode_CompareWithASCIIString(given.name(i), kNames[index]) != 0)
            ++index;
        if (index == 5) return unexpected_keyword("_make_transport", given.name(i)), nullptr;
        values[index] = given.value(i);
    }
    if (values[0] == nullptr || values[1] == nullptr)
        return PyErr_Format(PyExc_TypeError, "_make_transport() needs a sock and a protocol");
    return make_socket_transport(as_loop(self), {.sock = values[0],
                                                 .protocol = values[1],
                                                 .waiter = values[2],
                                                 .extra = values[3],
                                                 .server = values[4]});
}

bool add_transport_types(PyObject* module, State* state) {
    if (!import_name(state->buffered_protocol, "asyncio.protocols", "BufferedProtocol") ||
        !import_name(state->transport_socket, "asyncio.trsock", "TransportSocket") ||
        !import_name(state->socket_class, "socket", "socket") ||
        !import_name(state->gaierror, "socket", "gaierror"))
        return false;
    PyObject* found;
    if (!import_name(found, "_socket", "socket")) return false;
    state->base_socket = reinterpret_cast<PyTypeObject*>(found);
    if (!import_name(found, "asyncio.transports", "Transport")) return false;
    Ref<> base = Ref<>::steal(found);
    if (!check_base(base.get(), "Transport") ||
        !add_type(module, spec, base.get(), state->transport))
        return false;
    // What loop.start_tls() asks for, and what loop.sendfile() does.
    if (PyObject_SetAttrString(object(state->transport), "_start_tls_compatible", Py_True) < 0)
        return false;
    if (!import_name(found, "asyncio.constants", "_SendfileMode")) return false;
    Ref<> modes = Ref<>::steal(found);
    Ref<> native = Ref<>::steal(PyObject_GetAttrString(modes.get(), "TRY_NATIVE"));
    if (!native ||
        PyObject_SetAttrString(object(state->transport), "_sendfile_compatible", native.get()) < 0)
        return false;
    return add_pipe_types(module, state) && add_datagram_transport_type(module, state) &&
           add_acceptor_type(module, state) && add_tls_transport_type(module, state, base.get());
}

}  // namespace penstock::py
