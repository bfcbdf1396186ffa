// penstock.Task, a subclass of _asyncio.Task.
//
// A task of a native loop is stepped here; while it waits for a future it stands itself in the
// future's callbacks (it is callable for the base's sake), so that a wake-up costs no object. A
// task of another kind of loop is left to the base altogether.
//
// Who may touch what: a waiting task is owned by the future it waits for (one reference in its
// callbacks), a ready one by the ready queue; the task list holds none.
#pragma once

#include "futures/layout.h"
#include "py/state.h"

namespace penstock::py {

// A native task that will run `coro`: nullptr with an exception set where it is no coroutine.
// `name` may be nullptr or None, `context` nullptr, None or a Context.
PyObject* new_task(Loop* loop, PyObject* coro, PyObject* name, PyObject* context,
                   bool eager_start) noexcept;

// Runs one step; takes over the reference.
void step_task(Loop* loop, Task* task) noexcept;

// The task is done: leaves the list and tells its waiters.
void finish_task(Loop* loop, Task* task, FutureState state) noexcept;

// In the list behind asyncio.all_tasks().
void link_task(Loop* loop, Task* task) noexcept;
void unlink_task(Task* task) noexcept;
// live_tasks() -> list: below 3.14, all native tasks that are not done.
PyObject* live_tasks(PyObject* module, PyObject*);

// Gives the task a Context object of its own where it has only vars.
bool materialise_context(Task* task) noexcept;

// awaited.cancel(msg=message): whether it was cancelled, -1 with an exception set.
int cancel_awaited(State* state, PyObject* awaited, PyObject* message) noexcept;

bool check_coroutine(State* state, PyObject* coro) noexcept;

// create_task(coro, *, name=None, context=None, **kwargs) on the running loop.
PyObject* create_task(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names);

bool add_task_type(PyObject* module, State* state);

}  // namespace penstock::py
