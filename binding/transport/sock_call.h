// loop.sock_recv(), sock_recv_into(), sock_sendall() and sock_connect() on sockets of Python's own
// class, natively: each tries the call, and where it would block the coroutine itself waits in the
// FdTable.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// adopt_sock_methods(cls) -> cls: a class decorator, which puts the native methods in the place of
// the `async def` ones. Those still do what is out of the ordinary: subclasses of socket, TLS
// sockets, debug mode.
PyObject* adopt_sock_methods(PyObject* module, PyObject* cls);

bool add_sock_call_type(PyObject* module, State* state);

}  // namespace penstock::py
