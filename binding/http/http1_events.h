// The parser of HTTP/1.1 by itself, for tests that compare it with other people's.
#pragma once

#include "py/python.h"

namespace penstock::py {

// _http1_events(pieces, limits=None): the events that a list of bytes makes, as tuples whose first
// item names them. `limits` is a dict by the names of http1::Limits.
PyObject* http1_events(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace penstock::py
