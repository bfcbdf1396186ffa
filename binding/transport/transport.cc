#include "transport/transport.h"

#include <new>

#include "futures/future.h"
#include "net/address.h"
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

bool fill_extra(Transport* transport, PyObject* sock, PyObject* extra,
                PyObject* peername) noexcept {
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
    if (peername != nullptr)
        return PyDict_SetItem(transport->extra, state->str_peername, peername) == 0;
    return put(transport->extra, state->str_peername,
               name_object(sock, Address::peer_of(transport->fd), "getpeername"));
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
    PyObject* args[] = {object(loop), callback, argument, transport->context};
    PyObject* names = transport->context != nullptr ? loop->state->context_keyword : nullptr;
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

bool take_context(Transport* transport) noexcept {
    if (!kHas315) return true;
    transport->context = PyContext_CopyCurrent();
    return transport->context != nullptr;
}

PyObject* watching_context(const Transport* transport) noexcept {
    if (transport->context != nullptr) return Py_NewRef(transport->context);
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

PyMemberDef reading_members[] = {
    {"max_size", T_PYSSIZET, offsetof(Transport, max_size), 0, "The most that is read at once."},
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

PyObject* transport_get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names) {
    Transport* transport = as_any_transport(self);
    PyObject *name, *fallback;
    if (!read_extra_info_arguments(args, count, names, name, fallback)) return nullptr;
    if (transport->extra == nullptr || !PyDict_Check(transport->extra))
        return PyErr_Format(PyExc_AttributeError, "_extra");
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

PyObject* transport_repr(PyObject* self) {
    Transport* transport = as_any_transport(self);
    const char* state = transport->sock == nullptr ? " closed"
                        : transport->is_closing    ? " closing"
                                                   : "";
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

int traverse_base(Transport* transport, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(Py_TYPE(object(transport))));
    Py_VISIT(transport->extra);
    Py_VISIT(object(transport->loop));
    Py_VISIT(transport->sock);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->server);
    Py_VISIT(transport->context);
    Py_VISIT(transport->read_context);
    Py_VISIT(transport->write_context);
    Py_VISIT(transport->dict);
    return 0;
}

void clear_base(Transport* transport) noexcept {
    Py_CLEAR(transport->extra);
    transport->native = nullptr;
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->read_context);
    Py_CLEAR(transport->write_context);
    Py_CLEAR(transport->dict);
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
    type->tp_free(self);
    Py_DECREF(object(type));
}

}  // namespace penstock::py
