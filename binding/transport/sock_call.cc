#include "transport/sock_call.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "loop/loop.h"
#include "net/socket.h"
#include "py/coroutine_function.h"
#include "py/ref.h"
#include "transport/connection.h"
#include "transport/network.h"
#include "transport/sock_connect.h"
#include "transport/sock_wait.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

using Bytes = std::span<const std::byte>;

// Tries once; waits where it would block.
using Try = PySendResult (*)(SockCall*, int fd, PyObject** result) noexcept;

template <Try kTry>
PySendResult attempt(SockCall* call, PyObject** result) noexcept {
    int fd = open_fd(call);
    return fd >= 0 ? kTry(call, fd, result) : fail(result);
}

template <Try kTry>
PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    return attempt<kTry>(as_sock_call(self), result);
}

// ---- sock_recv -------------------------------------------------------------------------------

// Where many bytes are asked for, few come as a rule: through the loop's memory then, and copied.
constexpr std::size_t kSmall = 4096;

ssize_t receive_bytes(int fd, std::size_t count, PyObject** out) noexcept {
    Ref<> data = Ref<>::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(count)));
    if (!data) return -ENOMEM;
    ssize_t received =
        socket::try_recv(fd, {reinterpret_cast<std::byte*>(PyBytes_AS_STRING(data.get())), count});
    if (received < 0) return received;
    *out = data.release();
    if (_PyBytes_Resize(out, received) < 0) return -ENOMEM;
    return received;
}

// Where much came the last time it is read straight into a block; what that has no room for goes
// behind it, for of a datagram the rest would be lost.
ssize_t receive_much(Network& network, int fd, std::size_t count, PyObject** out) noexcept {
    Ref<> block = Ref<>::steal(network.take_block(std::min(network.sock_read_size(), count)));
    if (!block) return -ENOMEM;
    std::span<std::byte> rest = network.scratch();
    std::span<std::byte> memory = bytes_memory(block.get());
    memory = memory.first(std::min({memory.size(), count, rest.size()}));
    rest = rest.first(std::min(count - memory.size(), rest.size() - memory.size()));
    iovec pieces[] = {{memory.data(), memory.size()}, {rest.data(), rest.size()}};
    ssize_t received = socket::try_recv(fd, std::span<const iovec>(pieces));
    if (received < 0) return received;
    auto total = static_cast<std::size_t>(received);
    network.sock_read_size() = next_read_size(total, memory.size());
    if (total <= memory.size()) {
        *out = fitted_block(std::move(block), total);
    } else if ((*out = PyBytes_FromStringAndSize(nullptr, received)) != nullptr) {
        char* joined = PyBytes_AS_STRING(*out);
        std::memcpy(joined, memory.data(), memory.size());
        std::memcpy(joined + memory.size(), rest.data(), total - memory.size());
    }
    return *out != nullptr ? received : -ENOMEM;
}

ssize_t receive(Loop* loop, int fd, std::size_t count, PyObject** out) noexcept {
    if (count <= kSmall || loop->network == nullptr) return receive_bytes(fd, count, out);
    Network& network = *loop->network;
    if (network.sock_read_size() > 0) return receive_much(network, fd, count, out);
    std::span<std::byte> memory = network.scratch();
    memory = memory.first(std::min(count, memory.size()));
    ssize_t received = socket::try_recv(fd, memory);
    if (received < 0) return received;
    network.sock_read_size() = next_read_size(static_cast<std::size_t>(received), memory.size());
    *out = PyBytes_FromStringAndSize(reinterpret_cast<const char*>(memory.data()), received);
    return *out != nullptr ? received : -ENOMEM;
}

PySendResult try_recv(SockCall* call, int fd, PyObject** result) noexcept {
    ssize_t received = receive(call->loop, fd, static_cast<std::size_t>(call->count), result);
    if (received >= 0) return PYGEN_RETURN;
    if (socket::would_block(received)) return wait_for_fd(call, fd, Ready::kRead, result);
    if (PyErr_Occurred()) return fail(result);
    return fail_with_errno(received, result);
}

PySendResult begin_recv(Coroutine* self, PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    call->count = PyNumber_AsSsize_t(call->argument, PyExc_OverflowError);
    if (call->count == -1 && PyErr_Occurred()) return fail(result);
    if (call->count < 0) {
        PyErr_SetString(PyExc_ValueError, "negative buffersize in recv");
        return fail(result);
    }
    return attempt<try_recv>(call, result);
}

// ---- sock_recv_into --------------------------------------------------------------------------

PySendResult try_recv_into(SockCall* call, int fd, PyObject** result) noexcept {
    Py_buffer view;
    if (PyObject_GetBuffer(call->argument, &view, PyBUF_WRITABLE) < 0) {
        // In the words of socket.recv_into(), which hides what the object has said.
        bool is_none = call->argument == Py_None;
        PyErr_Format(PyExc_TypeError,
                     "recv_into() argument 1 must be read-write bytes-like object, not %.50s",
                     is_none ? "None" : Py_TYPE(call->argument)->tp_name);
        return fail(result);
    }
    ssize_t received = socket::try_recv(
        fd, {static_cast<std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
    PyBuffer_Release(&view);
    if (received >= 0) return end_with(PyLong_FromSsize_t(received), result);
    if (socket::would_block(received)) return wait_for_fd(call, fd, Ready::kRead, result);
    return fail_with_errno(received, result);
}

PySendResult begin_recv_into(Coroutine* self, PyObject** result) noexcept {
    return attempt<try_recv_into>(as_sock_call(self), result);
}

// ---- sock_sendall ----------------------------------------------------------------------------

// What a bytes object or a memoryview shows.
Bytes bytes_of(PyObject* data) noexcept {
    if (PyBytes_CheckExact(data))
        return {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(data)),
                static_cast<std::size_t>(PyBytes_GET_SIZE(data))};
    const Py_buffer* view = PyMemoryView_GET_BUFFER(data);
    return {static_cast<const std::byte*>(view->buf), static_cast<std::size_t>(view->len)};
}

PySendResult try_sendall(SockCall* call, int fd, PyObject** result) noexcept {
    Bytes all = bytes_of(call->argument);
    if (call->loop->reactor != nullptr) call->loop->reactor->backend().expect_events();
    ssize_t sent = socket::try_send(fd, all.subspan(static_cast<std::size_t>(call->count)));
    if (sent < 0 && !socket::would_block(sent)) return fail_with_errno(sent, result);
    call->count += std::max<ssize_t>(sent, 0);
    if (call->count == static_cast<Py_ssize_t>(all.size())) return end_with_none(result);
    return wait_for_fd(call, fd, Ready::kWrite, result);
}

PySendResult begin_sendall(Coroutine* self, PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    if (!PyBytes_CheckExact(call->argument)) {
        // What socket.send() would refuse.
        Py_buffer all;
        if (PyObject_GetBuffer(call->argument, &all, PyBUF_SIMPLE) < 0) return fail(result);
        PyBuffer_Release(&all);
        // It holds the buffer for as long as bytes of it have to leave.
        Ref<> view = Ref<>::steal(PyMemoryView_FromObject(call->argument));
        PyObject* bytes = view ? PyObject_CallMethod(view.get(), "cast", "s", "B") : nullptr;
        if (bytes == nullptr) return fail(result);
        Py_SETREF(call->argument, bytes);
    }
    return attempt<try_sendall>(call, result);
}

// ---- the methods -----------------------------------------------------------------------------

constexpr CoroutineKind kRecv =
    sock_call_kind("sock_recv", "Sockets.sock_recv", begin_recv, resume<try_recv>);
constexpr CoroutineKind kRecvInto = sock_call_kind("sock_recv_into", "Sockets.sock_recv_into",
                                                   begin_recv_into, resume<try_recv_into>);
constexpr CoroutineKind kSendall =
    sock_call_kind("sock_sendall", "Sockets.sock_sendall", begin_sendall, resume<try_sendall>);

// (loop, sock, argument)
template <const CoroutineKind& kKind, PyObject* State::*kOriginal>
PyObject* new_call(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    State* state = state_of(module);
    Loop* loop = as_loop(args[0]);
    bool is_usual = count == 3 && names == nullptr && !loop->is_debug &&
                    object(Py_TYPE(args[1])) == state->socket_class;
    if (!is_usual)
        return PyObject_Vectorcall(state->*kOriginal, args, static_cast<std::size_t>(count), names);
    return new_sock_call(state, &kKind, args[0], args[1], args[2]);
}

struct SockMethod {
    const char* name;
    FastFunction function;
    PyObject* State::*original;
};

constexpr SockMethod methods[] = {
    {"sock_recv", new_call<kRecv, &State::python_sock_recv>, &State::python_sock_recv},
    {"sock_recv_into", new_call<kRecvInto, &State::python_sock_recv_into>,
     &State::python_sock_recv_into},
    {"sock_sendall", new_call<kSendall, &State::python_sock_sendall>, &State::python_sock_sendall},
    {"sock_connect", new_call<kSockConnect, &State::python_sock_connect>,
     &State::python_sock_connect},
    {"create_connection", new_connection, &State::python_create_connection}};

}  // namespace

PyObject* adopt_sock_methods(PyObject* module, PyObject* cls) {
    State* state = state_of(module);
    if (!PyType_Check(cls)) return PyErr_Format(PyExc_TypeError, "a class was expected");
    PyObject* own = reinterpret_cast<PyTypeObject*>(cls)->tp_dict;
    for (const SockMethod& each : methods) {
        if (PyMapping_HasKeyString(own, each.name) == 0) continue;
        PyObject* original = PyObject_GetAttrString(cls, each.name);
        if (original == nullptr) return nullptr;
        Py_XSETREF(state->*each.original, original);
        Ref<> made = Ref<>::steal(new_coroutine_function(
            state, each.function, original, {.owner = reinterpret_cast<PyTypeObject*>(cls)}));
        if (!made || PyObject_SetAttrString(cls, each.name, made.get()) < 0) return nullptr;
    }
    return Py_NewRef(cls);
}

bool add_sock_call_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.SockCall", sizeof(SockCall),
                              state->sock_call);
}

}  // namespace penstock::py
