#include "transport/sock_wait.h"

#include <cerrno>

#include "loop/fd_table.h"
#include "py/ref.h"
#include "transport/network.h"

namespace penstock::py {

int visit_sock_call(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(as_sock_call(self)->loop));
    Py_VISIT(as_sock_call(self)->sock);
    Py_VISIT(as_sock_call(self)->argument);
    return 0;
}

void clear_sock_call(Coroutine* self) noexcept {
    Py_CLEAR(as_sock_call(self)->loop);
    Py_CLEAR(as_sock_call(self)->sock);
    Py_CLEAR(as_sock_call(self)->argument);
}

PyObject* new_sock_call(State* state, const CoroutineKind* kind, PyObject* loop, PyObject* sock,
                        PyObject* argument) noexcept {
    auto* call = static_cast<SockCall*>(new_coroutine(state, state->sock_call, kind));
    if (call == nullptr) return nullptr;
    call->loop = as_loop(Py_NewRef(loop));
    call->sock = Py_NewRef(sock);
    call->argument = Py_NewRef(argument);
    call->count = 0;
    PyObject_GC_Track(object(call));
    return object(call);
}

int socket_field(const State* state, PyObject* sock, PyObject* name) noexcept {
    PyObject* member = _PyType_Lookup(state->base_socket, name);
    descrgetfunc get = member != nullptr ? Py_TYPE(member)->tp_descr_get : nullptr;
    if (get == nullptr) return -1;
    Ref<> value = Ref<>::steal(get(member, sock, object(Py_TYPE(sock))));
    bool is_number = value && PyLong_Check(value.get());
    int number = is_number ? static_cast<int>(PyLong_AsLong(value.get())) : -1;
    PyErr_Clear();
    return number;
}

// -1 with an exception set; of a socket that is closed as its own methods raise it.
int open_fd(SockCall* call) noexcept {
    Ref<> number = Ref<>::steal(PyObject_CallMethodNoArgs(call->sock, call->state->str_fileno));
    if (!number) return -1;
    int fd = static_cast<int>(PyLong_AsLong(number.get()));
    if (fd >= 0 || PyErr_Occurred()) return fd;
    errno = EBADF;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

PySendResult fail_with_errno(ssize_t result, PyObject** out) noexcept {
    errno = static_cast<int>(-result);
    PyErr_SetFromErrno(PyExc_OSError);
    return fail(out);
}

bool check_no_transport(const SockCall* call, int fd) noexcept {
    Network* network = call->loop->network;
    if (network == nullptr || network->at(fd) == nullptr) return true;
    Ref<> number = Ref<>::steal(PyLong_FromLong(fd));
    return number && Ref<>::steal(loop_ensure_fd_no_transport(object(call->loop), number.get()));
}

PySendResult wait_for_fd(SockCall* call, int fd, Ready direction, PyObject** result) noexcept {
    if (!check_no_transport(call, fd) || !check_open(call->loop)) return fail(result);
    FdTable& fds = *call->loop->fds;
    Loop* running = running_loop(call->state);
    if (running == call->loop && may_park(running)) {
        if (!fds.add_waiter(fd, direction, object(call))) return fail(result);
        call->waits_for = fd;
        return park(call, result);
    }
    Ref<> future = Ref<>::steal(fds.wait(fd, direction));
    return future ? delegate_to_awaitable(call, future.get(), result) : fail(result);
}

void withdraw_sock_call(Coroutine* self, Loop*) noexcept {
    Loop* loop = as_sock_call(self)->loop;  // none once the collector has cleared us
    FdTable* fds = loop != nullptr ? loop->fds : nullptr;
    if (fds != nullptr) fds->remove_waiter(as_sock_call(self)->waits_for, object(self));
}

}  // namespace penstock::py
