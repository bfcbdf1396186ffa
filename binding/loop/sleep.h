// asyncio.sleep(): an awaitable that is lazy, warns when it was never awaited, and costs one
// object and one timer entry.
#pragma once

#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

// A native task has yielded this sleep: it wakes when the time is up. Takes over `task`.
void wait_for_sleep(Loop* loop, PyObject* sleep, Task* task) noexcept;
// What the task gets thrown where the sleep was cancelled, else nullptr.
PyObject* sleep_exception(PyObject* sleep) noexcept;
bool is_sleep_over(const Sleep* sleep) noexcept;
int visit_sleep(Sleep* sleep, visitproc visit, void* arg) noexcept;

// The timer is due; takes over the reference.
void finish_sleep(Loop* loop, Sleep* sleep) noexcept;

// sleep(delay, result=None)
PyObject* sleep_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                         PyObject* names);

bool add_sleep_type(PyObject* module, State* state);

}  // namespace penstock::py
