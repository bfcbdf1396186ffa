// asyncio.timeout(): a context manager that cancels the task in it when its time is over.
//
// What is hot is native: to enter, to leave in time, to reschedule. All the rest is asyncio's own
// code, which runs on our object: its attributes are those of asyncio.Timeout. So expiry, errors
// and reprs are those of the version of CPython that runs.
#pragma once

#include "py/python.h"
#include "py/state.h"
#include "sync/deadline.h"

namespace penstock::py {

struct Timeout;

// `made`, a new reference, ends `seconds` after now; the task that runs on `loop`, which is
// loop_of_deadlines(), has entered it.
Began enter_timeout(Loop* loop, double seconds, Timeout*& made) noexcept;

// Leaves it. `thrown`, taken over, is what has ended the block, or nullptr. False with that set, or
// with what comes of it.
bool leave_timeout(Timeout* timeout, PyObject* thrown) noexcept;

// It is not to tell of its end any more.
void forget_timeout(Timeout* timeout) noexcept;

// timeout(delay), timeout_at(when)
PyObject* timeout_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                           PyObject* names);
PyObject* timeout_at_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                              PyObject* names);

bool add_timeout_types(PyObject* module, State* state);

}  // namespace penstock::py
