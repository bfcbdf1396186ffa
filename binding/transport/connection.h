// loop.create_connection() of a connected socket, natively where there is neither TLS nor debug
// mode. All else is left to the `async def` of Python.
#pragma once

#include "py/python.h"

namespace penstock::py {

// (loop, protocol_factory, host, port, *, sock, …) -> a coroutine
PyObject* new_connection(PyObject* module, PyObject* const* args, Py_ssize_t count,
                         PyObject* names);

}  // namespace penstock::py
