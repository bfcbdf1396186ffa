// What `coroutine.__await__()` gives to Python code: an iterator, which a coroutine itself is not.
// `await` does without.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

PyObject* coroutine_await(PyObject* coroutine, PyObject*);

bool add_coroutine_iter_type(PyObject* module, State* state);

}  // namespace penstock::py
