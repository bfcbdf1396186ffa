// penstock.Future, a subclass of _asyncio.Future: the base's storage and, for all that is not
// hot, the base's methods. What the base does with our storage is right; we only do it faster.
#pragma once

#include "futures/layout.h"
#include "py/ref.h"
#include "py/state.h"

namespace penstock::py {

// A pending future of `loop`, which is native and plain.
PyObject* new_future(Loop* loop) noexcept;
// What `loop`, of any make, has for its create_future(). nullptr stands for a loop that is gone:
// an exception is set then, as wherever the method raises.
Ref<> create_future(PyObject* loop) noexcept;

// Exactly one of the types whose layout we know.
inline bool is_known_future(const State* state, PyObject* candidate) noexcept {
    PyTypeObject* type = Py_TYPE(candidate);
    return type == state->future || type == state->task || type == state->base_future ||
           type == state->base_task || type == state->gathering;
}

// A Task of ours or of a subclass that has not made it callable in another way.
inline bool is_native_task(const State* state, PyObject* candidate) noexcept {
    return Py_TYPE(candidate) == state->task ||
           (state->task != nullptr && Py_TYPE(candidate)->tp_call == state->task->tp_call);
}

// A callback that wakes `task`, for futures that are not ours.
PyObject* new_wake_up(PyObject* task) noexcept;

// Hands every callback of a future that is done to the ready queue of `loop`.
void fire_callbacks(Loop* loop, BaseFuture* future) noexcept;

// Takes over `result`. The future is pending.
void finish_future(Loop* loop, BaseFuture* future, PyObject* result) noexcept;

// The same for any kind of future that loop.create_future() may have made, and only where it is
// still pending. complete_with() takes over `result`, fail_with() `exception`.
void complete_with(Loop* loop, PyObject* future, PyObject* result) noexcept;
void complete_with_none(Loop* loop, PyObject* future) noexcept;
void fail_with(Loop* loop, PyObject* future, PyObject* exception) noexcept;

// asyncio's futures._set_result_unless_cancelled(): of the future only methods are called. False,
// with an exception set, where one raises; `setter` is the name of set_result or set_exception.
bool set_unless_cancelled(State* state, PyObject* future, PyObject* setter,
                          PyObject* value) noexcept;
bool is_pending(const State* state, PyObject* future) noexcept;

// `task` (its reference is taken over) wakes when `future` is done. False with MemoryError set: the
// reference is still the caller's.
bool add_waiter(Loop* loop, BaseFuture* future, Task* task) noexcept;

// `callback`, a waiting task or a DoneCallback (its reference is taken over), is told when
// `future`, which is pending, is done. False with MemoryError set: the reference is still the
// caller's.
bool add_native_callback(BaseFuture* future, PyObject* callback) noexcept;

// A new reference to the result, or nullptr with what the future raises.
PyObject* future_result(const State* state, BaseFuture* future) noexcept;

// What a cancelled future raises.
void raise_cancelled(const State* state, BaseFuture* future) noexcept;

// From 3.14: what asyncio.print_call_graph() and `python -m asyncio ps` read.
void add_awaited_by(BaseFuture* future, PyObject* task) noexcept;
void discard_awaited_by(BaseFuture* future, PyObject* task) noexcept;

void clear_base_fields(BaseFuture* future) noexcept;
void clear_dict(PyObject* object) noexcept;
int visit_base_fields(PyObject* object, visitproc visit, void* arg) noexcept;
// Clears weak references and the instance's dict before the object goes.
void clear_instance(PyObject* object) noexcept;

PyObject* await_future(PyObject* self);  // tp_iter and am_await of Future and Task
PyObject* future_set_result(PyObject* self, PyObject* result);
PyObject* future_result_method(PyObject* self, PyObject*);
PyObject* future_done(PyObject* self, PyObject*);
// `_callbacks`, for reprs: the bases' own would show a waiting task as itself.
PyObject* future_callbacks(PyObject* self, void*);

// `loop` where it is a loop of ours and its call_soon() has not been replaced, else nullptr.
Loop* find_native_loop(State* state, PyObject* loop) noexcept;

bool add_future_types(PyObject* module, State* state);

}  // namespace penstock::py
