#include "transport/socket_transport.h"

#include <new>

#include "loop/fd_table.h"
#include "loop/slow_call.h"
#include "net/address.h"
#include "net/socket.h"
#include "py/types.h"
#include "transport/acceptor.h"
#include "transport/methods.h"
#include "transport/network.h"
#include "transport/pipe_transport.h"
#include "transport/sockaddr.h"
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

bool put(PyObject* dict, PyObject* key, PyObject* value) noexcept {
    Ref<> owned = Ref<>::steal(value);
    return owned && PyDict_SetItem(dict, key, value) == 0;
}

// What get_extra_info() tells. The addresses are asked now: a socket that is lost has none.
bool fill_extra(SocketTransport* transport, const TransportOptions& options) noexcept {
    State* state = transport->loop->state;
    bool is_given = options.extra != nullptr && options.extra != Py_None;
    transport->extra = is_given ? Py_NewRef(options.extra) : PyDict_New();
    if (transport->extra == nullptr) return false;
    PyObject* wrapper = PyObject_CallOneArg(state->transport_socket, options.sock);
    if (!put(transport->extra, state->str_socket, wrapper)) return false;
    PyObject* sockname = sockaddr_object(Address::local_of(transport->fd));
    if (!put(transport->extra, state->str_sockname, sockname)) return false;
    int has_peer = is_given ? PyDict_Contains(transport->extra, state->str_peername) : 0;
    if (has_peer != 0) return has_peer > 0;
    PyObject* peername = options.peername != nullptr
                             ? Py_NewRef(options.peername)
                             : sockaddr_object(Address::peer_of(transport->fd));
    return put(transport->extra, state->str_peername, peername);
}

// As asyncio: of sockets that were made for TCP by name.
bool set_nodelay(SocketTransport* transport) noexcept {
    Ref<> protocol =
        Ref<>::steal(PyObject_GetAttr(transport->sock, transport->loop->state->str_proto));
    if (!protocol) return false;
    if (PyLong_Check(protocol.get()) && PyLong_AsLong(protocol.get()) == IPPROTO_TCP)
        socket::set_nodelay(transport->fd);
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

}  // namespace

bool open_connection(SocketTransport* transport) noexcept {
    Loop* loop = transport->loop;
    if (!check_open(loop)) return false;  // again: the socket's own methods may have closed it
    transport->connection = new (std::nothrow)
        Connection(transport, loop->reactor->backend(), transport->fd,
                   is_pipe(transport) ? Stream::Kind::kPipe : Stream::Kind::kSocket);
    if (transport->connection == nullptr) {
        PyErr_NoMemory();
        return false;
    }
    try {
        loop->network->link(transport);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

// connection_made() first, then reading, then whoever waits.
bool schedule_start(SocketTransport* transport, PyObject* waiter) noexcept {
    State* state = transport->loop->state;
    PyObject* name = transport->native != nullptr ? state->str__begin : state->str_connection_made;
    Ref<> made = Ref<>::steal(PyObject_GetAttr(transport->protocol, name));
    if (!made || !call_soon(transport, made.get(), object(transport))) return false;
    Ref<> start = Ref<>::steal(PyObject_GetAttr(object(transport), state->str__start));
    return start && call_soon(transport, start.get(), waiter != nullptr ? waiter : Py_None);
}

namespace {

bool set_result_unless_cancelled(State* state, PyObject* future) noexcept {
    Ref<> cancelled = Ref<>::steal(PyObject_CallMethodNoArgs(future, state->str_cancelled));
    int is_cancelled = cancelled ? PyObject_IsTrue(cancelled.get()) : -1;
    if (is_cancelled != 0) return is_cancelled > 0;
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(future, state->str_set_result, Py_None));
    return static_cast<bool>(done);
}

bool starts_reading(const SocketTransport* transport) noexcept {
    switch (transport->kind) {
        case TransportKind::kWritePipe:
            return transport->lost == 0;  // its reader may leave while what is queued drains
        case TransportKind::kWriteDevice: return false;
        default: return !transport->is_closing && !transport->is_paused;
    }
}

}  // namespace

PyObject* transport_start(PyObject* self, PyObject* waiter) {
    SocketTransport* transport = as_transport(self);
    bool reads = starts_reading(transport);
    Ref<> loop = Ref<>::borrow(object(transport->loop));
    bool started = !reads || start_reading(transport);
    PyObject* pending = take_exception();
    if (waiter != Py_None && loop &&
        !set_result_unless_cancelled(as_loop(loop.get())->state, waiter)) {
        Py_XDECREF(pending);
        return nullptr;
    }
    if (started) Py_RETURN_NONE;
    raise_exception(pending);
    return nullptr;
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* transport_get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names) {
    SocketTransport* transport = as_transport(self);
    PyObject* name = count > 0 ? args[0] : nullptr;
    PyObject* fallback = count > 1 ? args[1] : Py_None;
    Keywords given(args, count, names);
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        if (PyUnicode_CompareWithASCIIString(given.name(i), "name") == 0 && name == nullptr)
            name = given.value(i);
        else if (PyUnicode_CompareWithASCIIString(given.name(i), "default") == 0 && count < 2)
            fallback = given.value(i);
        else
            return unexpected_keyword("get_extra_info", given.name(i)), nullptr;
    }
    if (name == nullptr || count > 2)
        return PyErr_Format(PyExc_TypeError,
                            "get_extra_info() takes a name and a default (%zd given)", count);
    if (transport->extra == nullptr || !PyDict_Check(transport->extra))
        return PyErr_Format(PyExc_AttributeError, "_extra");
    PyObject* found = PyDict_GetItemWithError(transport->extra, name);
    if (found == nullptr && PyErr_Occurred()) return nullptr;
    return Py_NewRef(found != nullptr ? found : fallback);
}

PyObject* transport_set_protocol(PyObject* self, PyObject* protocol) {
    SocketTransport* transport = as_transport(self);
    if (transport->loop == nullptr) {  // lost: kept for get_protocol(), as asyncio keeps it
        transport->native = nullptr;
        Py_XSETREF(transport->protocol, Py_NewRef(protocol));
        Py_RETURN_NONE;
    }
    return set_protocol(transport, protocol) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* transport_get_protocol(PyObject* self, PyObject*) {
    PyObject* protocol = as_transport(self)->protocol;
    return Py_NewRef(protocol != nullptr ? protocol : Py_None);
}

PyObject* transport_is_closing(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_transport(self)->is_closing);
}
PyObject* transport_can_write_eof(PyObject*, PyObject*) { Py_RETURN_TRUE; }

namespace {

PyObject* repr(PyObject* self) {
    SocketTransport* transport = as_transport(self);
    const char* state = transport->sock == nullptr ? " closed"
                        : transport->is_closing    ? " closing"
                                                   : "";
    Ref<> name = Ref<>::steal(PyObject_GetAttrString(object(Py_TYPE(self)), "__name__"));
    if (!name) return nullptr;
    if (transport->connection == nullptr || transport->loop->is_closed)
        return PyUnicode_FromFormat("<%U%s fd=%d>", name.get(), state, transport->fd);
    const Stream& stream = transport->connection->stream;
    return PyUnicode_FromFormat("<%U%s fd=%d read=%s write=<%s, bufsize=%zu>>", name.get(), state,
                                transport->fd, stream.is_reading() ? "polling" : "idle",
                                stream.is_writing() ? "polling" : "idle", stream.queued());
}

// ---- attributes that programs know of asyncio's transports ------------------------------------

}  // namespace

PyObject* transport_get_loop(PyObject* self, void*) {
    Loop* loop = as_transport(self)->loop;
    return Py_NewRef(loop != nullptr ? object(loop) : Py_None);
}
PyObject* transport_get_fd(PyObject* self, void*) {
    return PyLong_FromLong(as_transport(self)->fd);
}

// ---- type ------------------------------------------------------------------------------------

int transport_traverse(PyObject* self, visitproc visit, void* arg) {
    SocketTransport* transport = as_transport(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(transport->extra);
    Py_VISIT(object(transport->loop));
    Py_VISIT(transport->sock);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->server);
    Py_VISIT(transport->context);
    Py_VISIT(transport->read_context);
    Py_VISIT(transport->write_context);
    Py_VISIT(transport->drained);
    Py_VISIT(transport->dict);
    return 0;
}

// By now finalize_transport() has closed the socket.
int transport_clear(PyObject* self) {
    SocketTransport* transport = as_transport(self);
    Py_CLEAR(transport->extra);
    transport->native = nullptr;
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->read_context);
    Py_CLEAR(transport->write_context);
    Py_CLEAR(transport->drained);
    Py_CLEAR(transport->dict);
    return 0;
}

void transport_dealloc(PyObject* self) {
    if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    SocketTransport* transport = as_transport(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (transport->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
    transport_clear(self);
    Py_CLEAR(transport->loop);
    Py_CLEAR(transport->sock);
    type->tp_free(self);
    Py_DECREF(object(type));
}

namespace {

PyObject* get_lost(PyObject* self, void*) {
    return PyLong_FromUnsignedLong(as_transport(self)->lost);
}

PyMethodDef methods[] = {
    {"write", transport_write, METH_O, "Send bytes; what the socket doesn't take is queued."},
    {"writelines", transport_writelines, METH_O, "Send several pieces of bytes at once."},
    {"write_eof", transport_write_eof, METH_NOARGS,
     "Close the write side once the queue has drained."},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, "True."},
    {"close", transport_close, METH_NOARGS, "Close the connection once the queue has drained."},
    {"abort", transport_abort, METH_NOARGS,
     "Close the connection at once; what is queued is lost."},
    {"is_closing", transport_is_closing, METH_NOARGS,
     "Whether the transport is closed or being closed."},
    {"is_reading", transport_is_reading, METH_NOARGS, "Whether data is received."},
    {"pause_reading", transport_pause_reading, METH_NOARGS,
     "Receive nothing until resume_reading()."},
    {"resume_reading", transport_resume_reading, METH_NOARGS, "Receive again."},
    {"get_extra_info", method(transport_get_extra_info), kFast,
     "Optional information: socket, sockname, peername."},
    {"set_protocol", transport_set_protocol, METH_O, "Change who is told of what happens."},
    {"get_protocol", transport_get_protocol, METH_NOARGS, "Who is told of what happens."},
    {"get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
     "Bytes that are queued."},
    {"get_write_buffer_limits", transport_get_write_buffer_limits, METH_NOARGS, "(low, high)"},
    {"set_write_buffer_limits", method(transport_set_write_buffer_limits), kFast,
     "Set the marks of flow control, in bytes."},
    {"_start", transport_start, METH_O, nullptr},
    {"_call_connection_lost", transport_call_connection_lost, METH_O, nullptr},
    {"_force_close", transport_force_close, METH_O, nullptr},
    {"_begin_sendfile", transport_begin_sendfile, METH_NOARGS, nullptr},
    {"_end_sendfile", transport_end_sendfile, METH_NOARGS, nullptr},
    {"_wait_writable", transport_wait_writable, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"_loop", transport_get_loop, nullptr, nullptr, nullptr},
    {"_sock", get_object<&SocketTransport::sock>, nullptr, nullptr, nullptr},
    {"_sock_fd", transport_get_fd, nullptr, nullptr, nullptr},
    {"_protocol", get_object<&SocketTransport::protocol>, nullptr, nullptr, nullptr},
    {"_server", get_object<&SocketTransport::server>, nullptr, nullptr, nullptr},
    {"_conn_lost", get_lost, nullptr, nullptr, nullptr},
    {"_closing", get_flag<&SocketTransport::is_closing>, nullptr, nullptr, nullptr},
    {"_paused", get_flag<&SocketTransport::is_paused>, nullptr, nullptr, nullptr},
    {"_eof", get_flag<&SocketTransport::has_eof>, nullptr, nullptr, nullptr},
    {"_protocol_paused", get_flag<&SocketTransport::is_protocol_paused>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(SocketTransport, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SocketTransport, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A stream transport over a TCP socket.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(transport_dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(transport_traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(transport_clear)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize_transport)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.SocketTransport", sizeof(SocketTransport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

bool import_name(PyObject*& slot, const char* module, const char* name) noexcept {
    Ref<> imported = Ref<>::steal(PyImport_ImportModule(module));
    slot = imported ? PyObject_GetAttrString(imported.get(), name) : nullptr;
    return slot != nullptr;
}

// asyncio.Transport's instances are an object head and the slot that we call `extra`.
bool check_base(PyObject* base) noexcept {
    Py_ssize_t size = reinterpret_cast<PyTypeObject*>(base)->tp_basicsize;
    if (size == offsetof(SocketTransport, extra) + sizeof(PyObject*)) return true;
    PyErr_Format(PyExc_ImportError, "asyncio.Transport has an unknown layout (%zd bytes)", size);
    return false;
}

}  // namespace

bool call_soon(SocketTransport* transport, PyObject* callback, PyObject* argument) noexcept {
    Loop* loop = transport->loop;
    PyObject* args[] = {object(loop), callback, argument, transport->context};
    PyObject* names = transport->context != nullptr ? loop->state->context_keyword : nullptr;
    Ref<> handle = Ref<>::steal(
        loop->is_plain ? loop_call_soon(object(loop), args + 1, 2, names)
                       : PyObject_VectorcallMethod(loop->state->str_call_soon, args,
                                                   3 | PY_VECTORCALL_ARGUMENTS_OFFSET, names));
    return static_cast<bool>(handle);
}

PyObject* watching_context(const SocketTransport* transport) noexcept {
    if (transport->context != nullptr) return Py_NewRef(transport->context);
    State* state = transport->loop->state;
    return Scratch::snapshot(current_thread(transport->loop), state->bare_context,
                             state->empty_vars);
}

void settle_hold(SocketTransport* transport) noexcept {
    bool is_watched =
        transport->connection != nullptr &&
        (transport->connection->stream.is_reading() || transport->connection->stream.is_writing());
    if (is_watched == transport->is_held) return;
    transport->is_held = is_watched;
    if (is_watched)
        Py_INCREF(object(transport));
    else
        Py_DECREF(object(transport));
}

void Connection::on_readable() noexcept {
    Ref<SocketTransport> transport = Ref<SocketTransport>::borrow(transport_);
    Loop* loop = transport->loop;
    // Whatever waits is reported again in the next turn, or run.
    if (loop->failure != nullptr) return;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport.get()), "_read_ready", transport->protocol);
    read_ready(transport.get());
}

PyObject* make_socket_transport(Loop* loop, const TransportOptions& options) noexcept {
    if (!check_open(loop)) return nullptr;
    Ref<> free = Ref<>::steal(loop_ensure_fd_no_transport(object(loop), options.sock));
    int fd = free ? fd_of(options.sock) : -1;
    if (fd < 0) return nullptr;
    PyTypeObject* type = loop->state->transport;
    Ref<SocketTransport> transport =
        Ref<SocketTransport>::steal(as_transport(type->tp_alloc(type, 0)));
    if (!transport) return nullptr;
    transport->loop = as_loop(Py_NewRef(object(loop)));
    transport->fd = fd;
    if (kHas315) {
        transport->context = PyContext_CopyCurrent();
        if (transport->context == nullptr) return nullptr;
    }
    set_default_limits(transport.get());
    if (!fill_extra(transport.get(), options)) return nullptr;
    transport->sock = Py_NewRef(options.sock);
    if (!set_protocol(transport.get(), options.protocol) ||
        !attach_to_server(transport.get(), options.server) || !open_connection(transport.get()) ||
        !set_nodelay(transport.get()) || !schedule_start(transport.get(), options.waiter))
        return nullptr;
    return object(transport.release());
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
    return make_socket_transport(as_loop(self),
                                 {values[0], values[1], values[2], values[3], values[4], nullptr});
}

bool add_transport_types(PyObject* module, State* state) {
    if (!import_name(state->buffered_protocol, "asyncio.protocols", "BufferedProtocol") ||
        !import_name(state->transport_socket, "asyncio.trsock", "TransportSocket") ||
        !import_name(state->socket_class, "socket", "socket") ||
        !import_name(state->gaierror, "socket", "gaierror"))
        return false;
    PyObject* found;
    if (!import_name(found, "asyncio.transports", "Transport")) return false;
    Ref<> base = Ref<>::steal(found);
    if (!check_base(base.get()) || !add_type(module, spec, base.get(), state->transport))
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
    return add_pipe_types(module, state) && add_acceptor_type(module, state) &&
           add_tls_transport_type(module, state, base.get());
}

}  // namespace penstock::py
