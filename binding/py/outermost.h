// Calling a program so that it finds no frames above its own.
#pragma once

#include "py/python.h"

namespace penstock::py {

// call_outermost(function, *args): as function(*args), which sees itself called by nobody, as the
// main module does that the interpreter runs. sys._getframe(), tracebacks that are printed from
// within, warnings and debuggers end with its frame.
PyObject* call_outermost(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace penstock::py
