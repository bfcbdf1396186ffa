#include "transport/sock_connect.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "net/socket.h"
#include "py/ref.h"
#include "transport/sock_wait.h"
#include "transport/sockaddr.h"

namespace penstock::py {
namespace {

// Where a call is suspended, in its `count`.
enum Stage : Py_ssize_t { kWaits, kConnected, kInPython };

// Test libraries put a connect() of their own into the class.
bool has_stock_connect(const State* state) noexcept {
    auto* type = reinterpret_cast<PyTypeObject*>(state->socket_class);
    return _PyType_Lookup(type, state->str_connect) ==
           _PyType_Lookup(state->base_socket, state->str_connect);
}

bool is_non_blocking(const SockCall* call) noexcept {
    Ref<> timeout =
        Ref<>::steal(PyObject_CallMethodNoArgs(call->sock, call->state->str_gettimeout));
    if (!timeout) PyErr_Clear();
    return timeout && PyFloat_CheckExact(timeout.get()) && PyFloat_AS_DOUBLE(timeout.get()) == 0;
}

// "" and "<broadcast>" are the socket module's own words, which a resolver doesn't know.
bool is_literal(PyObject* host) noexcept {
    if (!PyUnicode_CheckExact(host) || PyUnicode_GET_LENGTH(host) == 0) return false;
    return PyUnicode_READ_CHAR(host, 0) != '<';
}

// Where to, if that needs no resolver. The socket is told, and messages show, all four parts of an
// IPv6 address. Nothing with an exception set where memory is out.
std::optional<Address> literal_address(SockCall* call, int family) noexcept {
    int type = socket_field(call->state, call->sock, call->state->str_type);
    int protocol = socket_field(call->state, call->sock, call->state->str_proto);
    if (type != SOCK_STREAM && type != SOCK_DGRAM) return std::nullopt;
    if (protocol != 0 && protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return std::nullopt;
    auto address = sockaddr_of(call->argument, family);
    if (!address || !is_literal(PyTuple_GET_ITEM(call->argument, 0))) return std::nullopt;
    if (family == AF_INET6 && PyTuple_GET_SIZE(call->argument) < 4) {
        PyObject* whole = Py_BuildValue("(OOII)", PyTuple_GET_ITEM(call->argument, 0),
                                        PyTuple_GET_ITEM(call->argument, 1), address->flow_info(),
                                        address->scope_id());
        if (whole == nullptr) return std::nullopt;
        Py_SETREF(call->argument, whole);
    }
    return address;
}

std::optional<Address> usual_address(SockCall* call, int family) noexcept {
    if (!has_stock_connect(call->state) || !is_non_blocking(call)) return std::nullopt;
    if (family == AF_UNIX) return sockaddr_of(call->argument, family);
    return family == AF_INET || family == AF_INET6 ? literal_address(call, family) : std::nullopt;
}

PySendResult leave_to_python(SockCall* call, PyObject** result) noexcept {
    PyObject* args[] = {object(call->loop), call->sock, call->argument};
    Ref<> coroutine =
        Ref<>::steal(PyObject_Vectorcall(call->state->python_sock_connect, args, 3, nullptr));
    if (!coroutine) return fail(result);
    call->count = kInPython;
    return delegate_to_awaitable(call, coroutine.get(), result);
}

// `error` is what has become of it, 0 or -errno.
PySendResult end(const SockCall* call, int error, PyObject** result) noexcept {
    if (error == 0) return end_with_none(result);
    Ref<> message = Ref<>::steal(PyUnicode_FromFormat("Connect call failed %S", call->argument));
    Ref<> args = Ref<>::steal(message ? Py_BuildValue("(iO)", -error, message.get()) : nullptr);
    if (args) PyErr_SetObject(PyExc_OSError, args.get());
    return fail(result);
}

// Within a machine the connection is there, or refused, by the time that connect(2) says that it is
// under way; a second one tells, for less than watching the socket takes.
PySendResult wait_or_end(SockCall* call, int fd, const Address& address,
                         PyObject** result) noexcept {
    if (!check_no_transport(call, fd)) return fail(result);
    int answer = socket::start_connect(fd, address);
    if (answer == -EALREADY || answer == -EINPROGRESS || answer == -EAGAIN)
        return wait_for_fd(call, fd, Ready::kWrite, result);
    if (answer != 0 && answer != -EISCONN) return end(call, answer, result);
    // A turn for others all the same: whoever connects again and again to a server of this very
    // loop would fill its backlog.
    call->count = kConnected;
    if (call->loop->reactor != nullptr) call->loop->reactor->backend().expect_events();
    return give_way(call, result);
}

PySendResult begin_connect(Coroutine* self, PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    call->count = kWaits;
    int family = socket_field(call->state, call->sock, call->state->str_family);
    auto address = usual_address(call, family);
    if (!address) return PyErr_Occurred() ? fail(result) : leave_to_python(call, result);
    if (PySys_Audit("socket.connect", "OO", call->sock, call->argument) < 0) return fail(result);
    int fd = open_fd(call);
    if (fd < 0) return fail(result);
    int answer = socket::start_connect(fd, *address);
    if (answer == 0) return end_with_none(result);
    // A unix socket connects at once or not at all: EAGAIN says that the backlog is full.
    if (family == AF_UNIX) return fail_with_errno(answer, result);
    if (answer == -EINPROGRESS) return wait_or_end(call, fd, *address, result);
    if (answer == -EALREADY || answer == -EAGAIN)
        return wait_for_fd(call, fd, Ready::kWrite, result);
    return fail_with_errno(answer, result);
}

PySendResult resume_connect(Coroutine* self, PyObject* value, PyObject* thrown,
                            PyObject** result) noexcept {
    SockCall* call = as_sock_call(self);
    if (thrown != nullptr) return end_with_exception(thrown, result);
    if (call->count == kInPython) return end_with(value, result);
    Py_DECREF(value);
    if (call->count == kConnected) return end_with_none(result);
    int fd = open_fd(call);
    return fd < 0 ? fail(result) : end(call, socket::finish_connect(fd), result);
}

}  // namespace

constexpr CoroutineKind kSockConnect =
    sock_call_kind("sock_connect", "Sockets.sock_connect", begin_connect, resume_connect);

}  // namespace penstock::py
