// What the native sock_* calls have in common: the coroutine, and its wait for the fd in FdTable.
#pragma once

#include "loop/loop.h"
#include "sync/coroutine.h"

namespace penstock::py {

struct SockCall : Coroutine {
    int waits_for;  // the fd, while parked
    Loop* loop;
    PyObject* sock;
    PyObject* argument;  // as it was given; of sock_sendall() what holds the bytes
    Py_ssize_t count;    // of bytes: to receive, or that have left
};

inline SockCall* as_sock_call(Coroutine* self) noexcept { return static_cast<SockCall*>(self); }

PyObject* new_sock_call(State* state, const CoroutineKind* kind, PyObject* loop, PyObject* sock,
                        PyObject* argument) noexcept;
// An int attribute of the C part of a socket: `family` and `type` of the Python class look an enum
// up. -1 where there is none, without an exception.
int socket_field(const State* state, PyObject* sock, PyObject* name) noexcept;
// -1 with an exception set; of a socket that is closed as its own methods raise it.
int open_fd(SockCall* call) noexcept;
// False with RuntimeError set where a transport has the fd.
bool check_no_transport(const SockCall* call, int fd) noexcept;
// The ways to go on from a call: it has failed with -errno, or would block.
PySendResult fail_with_errno(ssize_t result, PyObject** out) noexcept;
PySendResult wait_for_fd(SockCall* call, int fd, Ready direction, PyObject** result) noexcept;

int visit_sock_call(Coroutine* self, visitproc visit, void* arg) noexcept;
void clear_sock_call(Coroutine* self) noexcept;
void withdraw_sock_call(Coroutine* self, Loop* loop) noexcept;

constexpr CoroutineKind sock_call_kind(const char* name, const char* qualified_name,
                                       decltype(CoroutineKind::begin) begin,
                                       decltype(CoroutineKind::resume) resume,
                                       bool gives_away = false) noexcept {
    return {.name = name,
            .qualified_name = qualified_name,
            .wait_kind = WaitKind::kSocket,
            .begin = begin,
            .resume = resume,
            .visit = visit_sock_call,
            .clear = clear_sock_call,
            .withdraw = withdraw_sock_call,
            .free = &State::free_sock_calls,
            .gives_away = gives_away};
}

}  // namespace penstock::py
