#include "transport/transport.h"

#include <cstring>
#include <new>

#include "futures/future.h"
#include "py/arguments.h"
#include "transport/network.h"
#include "transport/sockaddr.h"

namespace penstock::py {
namespace {

bool put(PyObject* dict, PyObject* key, PyObject* value) noexcept {
    Ref<> owned = Ref<>::steal(value);
    return owned && PyDict_SetItem(dict, key, value) == 0;
}

// As the socket module spells it, which knows every family. None where there is no address.
PyObject* name_object(PyObject* sock, const Address& address, const char* method) noexcept {
    if (address.family() == AF_UNSPEC || is_native_family(address.family()))
        return sockaddr_object(address);
    PyObject* name = PyObject_CallMethod(sock, method, nullptr);
    if (name != nullptr || !PyErr_ExceptionMatches(PyExc_OSError)) return name;
    PyErr_Clear();
    Py_RETURN_NONE;
}

bool starts_reading(const Transport* transport) noexcept {
    switch (transport->kind) {
        case TransportKind::kWritePipe:
            return transport->lost == 0;  // its reader may leave while what is queued drains
        case TransportKind::kWriteDevice: return false;
        default: return !transport->is_closing && !transport->is_paused;
    }
}

}  // namespace

bool check_base(PyObject* base, const char* name) noexcept {
    Py_ssize_t size = reinterpret_cast<PyTypeObject*>(base)->tp_basicsize;
    if (size == offsetof(Transport, extra) + sizeof(PyObject*)) return true;
    PyErr_Format(PyExc_ImportError, "asyncio.%s has an unknown layout (%zd bytes)", name, size);
    return false;
}

namespace {

bool fill(Transport* transport, PyObject* sock, PyObject* extra, const Address& peer) noexcept {
    State* state = transport->loop->state;
    bool is_given = extra != nullptr && extra != Py_None;
    transport->extra = is_given ? Py_NewRef(extra) : PyDict_New();
    if (transport->extra == nullptr) return false;
    PyObject* wrapper = PyObject_CallOneArg(state->transport_socket, sock);
    if (!put(transport->extra, state->str_socket, wrapper)) return false;
    PyObject* sockname = name_object(sock, Address::local_of(transport->fd), "getsockname");
    if (!put(transport->extra, state->str_sockname, sockname)) return false;
    int has_peer = is_given ? PyDict_Contains(transport->extra, state->str_peername) : 0;
    if (has_peer != 0) return has_peer > 0;
    return put(transport->extra, state->str_peername, name_object(sock, peer, "getpeername"));
}

void forget_peer(Transport* transport) noexcept {
    sockaddr* peer = std::exchange(transport->peer, nullptr);
    if (!transport->has_short_peer) PyMem_Free(peer);
    transport->has_short_peer = false;
}

Address peer_of(const Transport* transport) noexcept {
    // The rest of a sockaddr_in is nothing but padding.
    static_assert(offsetof(sockaddr_in, sin_zero) == sizeof transport->short_peer);
    if (!transport->has_short_peer) return {transport->peer, sizeof(sockaddr_in6)};
    sockaddr_in peer{};
    std::memcpy(&peer, transport->short_peer, sizeof transport->short_peer);
    return {reinterpret_cast<const sockaddr*>(&peer), sizeof peer};
}

}  // namespace

bool fill_extra(Transport* transport, PyObject* sock, PyObject* extra) noexcept {
    return fill(transport, sock, extra, Address::peer_of(transport->fd));
}

bool put_off_extra(Transport* transport, PyObject* sock, const Address* peer) noexcept {
    Address asked = peer != nullptr ? *peer : Address::peer_of(transport->fd);
    if (asked.family() == AF_INET) {
        std::memcpy(transport->short_peer, asked.get(), sizeof transport->short_peer);
        transport->has_short_peer = true;
        return true;
    }
    if (asked.family() != AF_INET6) return fill(transport, sock, nullptr, asked);
    transport->peer = static_cast<sockaddr*>(PyMem_Malloc(asked.size()));
    if (transport->peer == nullptr) return PyErr_NoMemory(), false;
    std::memcpy(transport->peer, asked.get(), asked.size());
    return true;
}

bool make_extra(Transport* transport) noexcept {
    if (transport->extra != nullptr) return true;
    if (!make_sock(transport)) return false;
    if (transport->extra != nullptr) return true;  // meanwhile
    bool has_peer = transport->has_short_peer || transport->peer != nullptr;
    if (!has_peer || transport->sock == nullptr) {
        // Memory was out as the connection was lost.
        transport->extra = PyDict_New();
        return transport->extra != nullptr;
    }
    Ref<> sock = Ref<>::borrow(transport->sock);
    bool done = fill(transport, sock.get(), nullptr, peer_of(transport));
    if (done)
        forget_peer(transport);
    else
        Py_CLEAR(transport->extra);
    return done;
}

PyObject* new_socket(const State* state, int family, int type, int protocol,
                     UniqueFd& fd) noexcept {
    PyObject* sock = PyObject_CallFunction(state->socket_class, "iiii", family,
                                           type | SOCK_NONBLOCK, protocol, fd.get());
    if (sock != nullptr) fd.release();
    return sock;
}

bool make_sock(Transport* transport) noexcept {
    if (!transport->owns_fd) return true;
    UniqueFd fd(transport->fd);
    Ref<> made =
        Ref<>::steal(new_socket(transport->loop->state, transport->is_ipv6 ? AF_INET6 : AF_INET,
                                SOCK_STREAM, transport->names_tcp ? IPPROTO_TCP : 0, fd));
    if (!made) return fd.release(), false;
    if (transport->owns_fd) {
        transport->owns_fd = false;
        transport->sock = made.release();
        return true;
    }
    // An audit hook has asked for it as well, or closed the connection: the fd is not this one's.
    return static_cast<bool>(Ref<>::steal(PyObject_CallMethod(made.get(), "detach", nullptr)));
}

bool adopt_endpoint(Transport* transport, Endpoint* endpoint) noexcept {
    transport->endpoint = endpoint;
    try {
        if (endpoint == nullptr) throw std::bad_alloc();
        transport->loop->network->link(transport);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

// The handle.
static Ref<> schedule(Transport* transport, PyObject* callback, PyObject* argument) noexcept {
    Loop* loop = transport->loop;
    PyObject* args[] = {object(loop), callback, argument, own_context(transport)};
    PyObject* names = own_context(transport) != nullptr ? loop->state->context_keyword : nullptr;
    return Ref<>::steal(loop->is_plain
                            ? loop_call_soon(object(loop), args + 1, 2, names)
                            : PyObject_VectorcallMethod(loop->state->str_call_soon, args,
                                                        3 | PY_VECTORCALL_ARGUMENTS_OFFSET, names));
}

bool schedule_start(Transport* transport, PyObject* waiter) noexcept {
    State* state = transport->loop->state;
    PyObject* name = transport->native != nullptr ? state->str__begin : state->str_connection_made;
    Ref<> made = Ref<>::steal(PyObject_GetAttr(transport->protocol, name));
    Ref<> start =
        Ref<>::steal(made ? PyObject_GetAttr(object(transport), state->str__start) : nullptr);
    Ref<> first = start ? schedule(transport, made.get(), object(transport)) : Ref<>();
    if (!first) return false;
    if (call_soon(transport, start.get(), waiter != nullptr ? waiter : Py_None)) return true;
    // A protocol must not hear of a connection that it would never hear from.
    PyObject* pending = take_exception();
    Ref<> cancelled = Ref<>::steal(PyObject_CallMethodNoArgs(first.get(), state->str_cancel));
    if (!cancelled) PyErr_WriteUnraisable(first.get());
    raise_exception(pending);
    return false;
}

bool call_soon(Transport* transport, PyObject* callback, PyObject* argument) noexcept {
    return static_cast<bool>(schedule(transport, callback, argument));
}

bool take_context([[maybe_unused]] Transport* transport) noexcept {
#if PY_VERSION_HEX >= 0x030F0000
    transport->context = PyContext_CopyCurrent();
    return transport->context != nullptr;
#else
    return true;
#endif
}

PyObject* watching_context(const Transport* transport) noexcept {
    if (PyObject* own = own_context(transport); own != nullptr) return Py_NewRef(own);
    State* state = transport->loop->state;
    return Scratch::snapshot(current_thread(transport->loop), state->bare_context,
                             state->empty_vars);
}

void settle_hold(Transport* transport) noexcept {
    bool is_watched = false;
    if (transport->endpoint != nullptr) {
        Channel& channel = transport->endpoint->channel();
        is_watched = channel.is_reading() || channel.is_writing();
    }
    if (is_watched == transport->is_held) return;
    transport->is_held = is_watched;
    if (is_watched)
        Py_INCREF(object(transport));
    else
        Py_DECREF(object(transport));
}

PyObject* transport_start(PyObject* self, PyObject* waiter) {
    Transport* transport = as_any_transport(self);
    bool reads = starts_reading(transport);
    Ref<> loop = Ref<>::borrow(object(transport->loop));
    bool started = !reads || start_reading(transport);
    PyObject* pending = take_exception();
    if (waiter != Py_None && loop) {
        State* state = as_loop(loop.get())->state;
        if (!set_unless_cancelled(state, waiter, state->str_set_result, Py_None)) {
            Py_XDECREF(pending);
            return nullptr;
        }
    }
    if (started) Py_RETURN_NONE;
    // Nothing would ever come of it: the protocol learns so by connection_lost(), the loop's
    // exception handler by what is raised.
    if (transport->loop != nullptr) {
        Ref<> closed = Ref<>::steal(transport_force_close(self, pending));
        if (!closed && !take_failure(as_loop(loop.get()))) PyErr_WriteUnraisable(self);
    }
    raise_exception(pending);
    return nullptr;
}

PyMemberDef transport_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Transport, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Transport, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

// ---- methods ---------------------------------------------------------------------------------

bool read_extra_info_arguments(PyObject* const* args, Py_ssize_t count, PyObject* names,
                               PyObject*& name, PyObject*& fallback) noexcept {
    static constexpr const char* kNames[] = {"name", "default"};
    PyObject* given[] = {nullptr, Py_None};
    if (!bind({"get_extra_info", kNames, 2, 1}, args, count, names, given)) return false;
    name = given[0];
    fallback = given[1];
    return true;
}

// What is asked for wouldn't be in it: it needn't be made.
static bool is_foreign_to_extra(const Transport* transport, PyObject* name) noexcept {
    if (transport->extra != nullptr || transport->loop == nullptr || !PyUnicode_CheckExact(name))
        return false;
    const State* state = transport->loop->state;
    for (PyObject* known : {state->str_socket, state->str_sockname, state->str_peername})
        if (PyUnicode_Compare(name, known) == 0) return false;
    return true;
}

PyObject* transport_get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names) {
    Transport* transport = as_any_transport(self);
    PyObject *name, *fallback;
    if (!read_extra_info_arguments(args, count, names, name, fallback)) return nullptr;
    if (is_foreign_to_extra(transport, name)) return Py_NewRef(fallback);
    // Whoever has the socket may write to it himself.
    bool is_socket = PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "socket") == 0;
    if (is_socket && !settle_writes(transport)) return nullptr;
    if (!make_extra(transport)) return nullptr;
    if (!PyDict_Check(transport->extra)) return PyErr_Format(PyExc_AttributeError, "_extra");
    PyObject* found = PyDict_GetItemWithError(transport->extra, name);
    if (found == nullptr && PyErr_Occurred()) return nullptr;
    return Py_NewRef(found != nullptr ? found : fallback);
}

PyObject* transport_get_protocol(PyObject* self, PyObject*) {
    PyObject* protocol = as_any_transport(self)->protocol;
    return Py_NewRef(protocol != nullptr ? protocol : Py_None);
}

PyObject* transport_is_closing(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_any_transport(self)->is_closing);
}

PyObject* transport_get_extra(PyObject* self, void*) {
    Transport* transport = as_any_transport(self);
    return make_extra(transport) ? Py_NewRef(transport->extra) : nullptr;
}
int transport_set_extra(PyObject* self, PyObject* value, void*) {
    if (value == nullptr) return PyErr_SetString(PyExc_AttributeError, "_extra"), -1;
    forget_peer(as_any_transport(self));
    Py_XSETREF(as_any_transport(self)->extra, Py_NewRef(value));
    return 0;
}

PyObject* transport_get_loop(PyObject* self, void*) {
    Loop* loop = as_any_transport(self)->loop;
    return Py_NewRef(loop != nullptr ? object(loop) : Py_None);
}
PyObject* transport_get_lost(PyObject* self, void*) {
    return PyLong_FromUnsignedLong(as_any_transport(self)->lost);
}
PyObject* transport_get_fd(PyObject* self, void*) {
    return PyLong_FromLong(as_any_transport(self)->fd);
}

PyObject* transport_get_sock(PyObject* self, void*) {
    Transport* transport = as_any_transport(self);
    if (!make_sock(transport)) return nullptr;
    return Py_NewRef(transport->sock != nullptr ? transport->sock : Py_None);
}

PyObject* transport_repr(PyObject* self) {
    Transport* transport = as_any_transport(self);
    const char* state = !is_open(transport) ? " closed" : transport->is_closing ? " closing" : "";
    Ref<> name = Ref<>::steal(PyObject_GetAttrString(object(Py_TYPE(self)), "__name__"));
    if (!name) return nullptr;
    if (transport->endpoint == nullptr || transport->loop->is_closed)
        return PyUnicode_FromFormat("<%U%s fd=%d>", name.get(), state, transport->fd);
    const Channel& channel = transport->endpoint->channel();
    return PyUnicode_FromFormat("<%U%s fd=%d read=%s write=<%s, bufsize=%zu>>", name.get(), state,
                                transport->fd, channel.is_reading() ? "polling" : "idle",
                                channel.is_writing() ? "polling" : "idle", channel.queued());
}

// ---- life ------------------------------------------------------------------------------------

int transport_traverse(PyObject* self, visitproc visit, void* arg) {
    Transport* transport = as_any_transport(self);
    Py_VISIT(object(Py_TYPE(self)));
    Py_VISIT(transport->extra);
    Py_VISIT(object(transport->loop));
    Py_VISIT(transport->sock);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->server);
    Py_VISIT(transport->read_context);
#if PY_VERSION_HEX >= 0x030F0000
    Py_VISIT(transport->context);
#endif
    if (transport->seldom != nullptr) {
        Py_VISIT(transport->seldom->write_context);
        Py_VISIT(transport->seldom->drained);
    }
    Py_VISIT(transport->dict);
    return 0;
}

int transport_clear(PyObject* self) {
    Transport* transport = as_any_transport(self);
    Py_CLEAR(transport->extra);
    forget_peer(transport);
    transport->native = nullptr;
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->read_context);
#if PY_VERSION_HEX >= 0x030F0000
    Py_CLEAR(transport->context);
#endif
    if (transport->seldom != nullptr) {
        Py_CLEAR(transport->seldom->write_context);
        Py_CLEAR(transport->seldom->drained);
    }
    Py_CLEAR(transport->dict);
    return 0;
}

void transport_dealloc(PyObject* self) {
    if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    Transport* transport = as_any_transport(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (transport->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
    type->tp_clear(self);
    Py_CLEAR(transport->loop);
    Py_CLEAR(transport->sock);
    PyMem_Free(transport->seldom);
    type->tp_free(self);
    Py_DECREF(object(type));
}

}  // namespace penstock::py
