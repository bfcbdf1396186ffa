// A native function in the place of a Python `async def`: calls ours, and answers every question
// about itself (name, signature, annotations, the code flags that make
// inspect.iscoroutinefunction() true) as the function that it replaces.
#pragma once

#include "py/state.h"

namespace penstock::py {

using FastFunction = PyObject* (*)(PyObject* module, PyObject* const* args, Py_ssize_t count,
                                   PyObject* names);

// `owner` is the class that it is a method of, or nullptr. A method is only called with instances
// of it as args[0], and where `is_exact` or `count` (of all arguments, by position) say so only
// with such: all other calls go to `original`.
struct CoroutineFunctionOptions {
    PyTypeObject* owner = nullptr;
    bool is_exact = false;
    Py_ssize_t count = -1;
};

PyObject* new_coroutine_function(State* state, FastFunction function, PyObject* original,
                                 CoroutineFunctionOptions options = {}) noexcept;
bool add_coroutine_function_type(PyObject* module, State* state);

}  // namespace penstock::py
