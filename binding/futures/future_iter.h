// See future_iter.cc.
#pragma once

#include "py/state.h"

namespace penstock::py {

// Raises what was given to throw(type_or_value, value=None, traceback=None); returns nullptr.
PyObject* raise_thrown(PyObject* const* args, Py_ssize_t count) noexcept;

bool add_future_iter_type(PyObject* module, State* state);

}  // namespace penstock::py
