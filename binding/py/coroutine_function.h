// A native function in the place of a Python `async def`: calls ours, and answers every question
// about itself (name, signature, annotations, the code flags that make
// inspect.iscoroutinefunction() true) as the function that it replaces.
#pragma once

#include "py/state.h"

namespace penstock::py {

using FastFunction = PyObject* (*)(PyObject* module, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names);

PyObject* new_coroutine_function(State* state, FastFunction function, PyObject* original) noexcept;
bool add_coroutine_function_type(PyObject* module, State* state);

}  // namespace penstock::py
