// asyncio.sleep(): a coroutine that costs one object and one entry in the timer heap.
#pragma once

#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

bool is_sleep_over(const Sleep* sleep) noexcept;

// The timer is due; takes over the reference.
void finish_sleep(Loop* loop, Sleep* sleep) noexcept;

// sleep(delay, result=None)
PyObject* sleep_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                         PyObject* names);

bool add_sleep_type(PyObject* module, State* state);

}  // namespace penstock::py
