// asyncio.wait_for(): a coroutine that has a deadline.
//
// From 3.12 on asyncio's awaits within a timeout(), in the caller's task (wait_for_here.cc); 3.11
// has a task of its own for what is awaited, and waits for its end (wait_for_task.cc). So do we, on
// either. Whatever is out of the ordinary (no plain number above 0, another awaitable than a
// coroutine or a future, another loop) asyncio's own coroutine does.
#pragma once

#include "sync/coroutine.h"
#include "sync/deadline.h"

namespace penstock::py {

struct DoneCallback;
struct Timeout;

struct WaitFor : Coroutine {
    PyObject* awaitable;
    PyObject* limit;  // in seconds, as it was given
#if PY_VERSION_HEX >= 0x030C0000
    Timeout* timeout;
#else
    Deadline* deadline;
    DoneCallback* callback;  // of what it waits for, `awaitable` from then on
    PyObject* cancelled;     // what it will raise once that is over
#endif
};

inline WaitFor* as_wait_for(Coroutine* self) noexcept { return static_cast<WaitFor*>(self); }

// By version: begins to wait on `loop`, which is loop_of_deadlines(), and is then suspended or over
// with `sent` and `result`. kNo, with nothing changed, where asyncio's own has to do it.
Began begin_wait_for(Loop* loop, WaitFor* self, double seconds, PySendResult& sent,
                     PyObject** result) noexcept;
PySendResult resume_wait_for(WaitFor* self, PyObject* value, PyObject* thrown,
                             PyObject** result) noexcept;
int visit_wait_for(const WaitFor* self, visitproc visit, void* arg) noexcept;
void clear_wait_for(WaitFor* self) noexcept;

// wait_for(fut, timeout)
PyObject* wait_for_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                            PyObject* names);

bool add_wait_for_type(PyObject* module, State* state);

}  // namespace penstock::py
