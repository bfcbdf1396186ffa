#include "transport/connection.h"

#include <sys/socket.h>

#include "py/ref.h"
#include "py/types.h"
#include "transport/sock_wait.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

// What fails before there is a transport: the socket stays the caller's, up to 3.14.7.
PySendResult fail_without_transport(const SockCall* call, PyObject** result) noexcept {
    if (Py_Version < 0x030E0800) return fail(result);
    PyObject* pending = take_exception();
    Ref<> closed = Ref<>::steal(PyObject_CallMethodNoArgs(call->sock, call->state->str_close));
    if (closed)
        raise_exception(pending);
    else
        Py_DECREF(pending);
    return fail(result);
}

// From now on `sock` is the transport, and `argument` the protocol. The waiter, or nothing with an
// exception set.
Ref<> make_transport(SockCall* call) noexcept {
    Ref<> set =
        Ref<>::steal(PyObject_CallMethodOneArg(call->sock, call->state->str_setblocking, Py_False));
    if (!set) return {};
    PyObject* protocol = PyObject_CallNoArgs(call->argument);
    if (protocol == nullptr) return {};
    Py_SETREF(call->argument, protocol);
    Ref<> waiter = Ref<>::steal(loop_create_future(object(call->loop), nullptr));
    if (!waiter) return {};
    PyObject* transport = make_socket_transport(call->loop, {.sock = call->sock,
                                                             .protocol = protocol,
                                                             .waiter = waiter.get(),
                                                             .extra = nullptr,
                                                             .server = nullptr});
    if (transport == nullptr) return {};
    Py_SETREF(call->sock, transport);
    return waiter;
}

PySendResult begin_connection(Coroutine* self, PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    Ref<> waiter = make_transport(call);
    if (!waiter) return fail_without_transport(call, result);
    return delegate_to_awaitable(call, waiter.get(), result);
}

PySendResult resume_connection(Coroutine* self, PyObject* value, PyObject* thrown,
                               PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    if (thrown == nullptr) {
        Py_DECREF(value);
        return end_with(PyTuple_Pack(2, call->sock, call->argument), result);
    }
    if (close_transport(as_any_transport(call->sock))) return end_with_exception(thrown, result);
    Py_DECREF(thrown);
    return fail(result);
}

constexpr CoroutineKind kCreateConnection = sock_call_kind(
    "create_connection", "Connecting.create_connection", begin_connection, resume_connection, true);

// The `sock` of a call that gives nothing else that matters; nullptr where it does.
PyObject* only_socket(const State* state, PyObject* const* args, Py_ssize_t count,
                      PyObject* names) noexcept {
    if (count != 2) return nullptr;
    PyObject* sock = nullptr;
    Keywords given(args, count, names);
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        // Names in calls are interned; others are looked at in Python.
        if (given.name(i) == state->str_sock)
            sock = given.value(i);
        else if (given.value(i) != Py_None ||
                 (given.name(i) != state->str_ssl && given.name(i) != state->str_server_hostname))
            return nullptr;
    }
    if (sock == nullptr || object(Py_TYPE(sock)) != state->socket_class) return nullptr;
    return socket_field(state, sock, state->str_type) == SOCK_STREAM ? sock : nullptr;
}

}  // namespace

PyObject* new_connection(PyObject* module, PyObject* const* args, Py_ssize_t count,
                         PyObject* names) {
    State* state = state_of(module);
    PyObject* sock = as_loop(args[0])->is_debug ? nullptr : only_socket(state, args, count, names);
    if (sock == nullptr)
        return PyObject_Vectorcall(state->python_create_connection, args,
                                   static_cast<std::size_t>(count), names);
    return new_sock_call(state, &kCreateConnection, args[0], sock, args[1]);
}

}  // namespace penstock::py
