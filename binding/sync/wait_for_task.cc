// wait_for() up to 3.11: a coroutine gets a task of its own, so that it has its own contextvars and
// current_task(); who gives up on it waits until it is over.
#include "sync/wait_for.h"

#if PY_VERSION_HEX < 0x030C0000

#include "futures/future.h"
#include "futures/task.h"
#include "loop/clock.h"
#include "sync/done_callback.h"

namespace penstock::py {
namespace {

void let_go_on(Loop*, DoneCallback* callback, PyObject*) noexcept {
    wake(as_coroutine(callback->owner));
}

constexpr DoneCallbackKind kRelease = {.qualified_name = "_release_waiter",
                                       .source = nullptr,
                                       .child_done = let_go_on,
                                       .forget = nullptr};

bool expire(Loop*, Deadline* deadline) noexcept {
    Ref<> held = take_owner(deadline);
    wake(as_coroutine(held.get()));
    return true;
}

// A coroutine that ensure_future() would make a task of in no other way than we do, or a future
// that is not done.
bool is_ordinary(Loop* loop, PyObject* awaitable) noexcept {
    if (PyCoro_CheckExact(awaitable) || is_native_coroutine(awaitable))
        return loop->task_factory == Py_None && !loop->has_own_create_task &&
               loop->state->native_task;
    return is_known_future(loop->state, awaitable) && as_base(awaitable)->loop == object(loop) &&
           as_base(awaitable)->state == kPending;
}

// What is awaited, as a future that is pending: a new reference.
Ref<> child_of(Loop* loop, PyObject* awaitable) noexcept {
    if (is_known_future(loop->state, awaitable)) return Ref<>::borrow(awaitable);
    return Ref<>::steal(new_task(loop, awaitable, nullptr, nullptr, false));
}

// child.result()
PySendResult end_with_result(WaitFor* self, PyObject** result) noexcept {
    *result = future_result(self->state, as_base(self->awaitable));
    return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

// An exception that is pending was raised while `handled` was handled.
void set_context(PyObject* handled) noexcept {
    PyObject* raised = take_exception();
    Ref<> before = Ref<>::steal(PyException_GetContext(raised));
    if (!before && raised != handled) PyException_SetContext(raised, Py_NewRef(handled));
    raise_exception(raised);
}

// Cancels the child, and goes on once it is over.
PySendResult give_up(WaitFor* self, DoneCallback* callback, PyObject** result) noexcept {
    State* state = self->state;
    Ref<> removed = Ref<>::steal(
        PyObject_CallMethod(self->awaitable, "remove_done_callback", "O", object(callback)));
    if (!removed) return fail(result);
    PyObject* ending = PyObject_CallFunctionObjArgs(state->stock_cancel_and_wait, self->awaitable,
                                                    as_base(self->awaitable)->loop, nullptr);
    return ending != nullptr ? delegate_to(self, ending, result) : fail(result);
}

// The child is over, for whose end it was to wait no longer.
PySendResult end_late(WaitFor* self, PyObject** result) noexcept {
    if (end_with_result(self, result) == PYGEN_RETURN) return PYGEN_RETURN;
    if (!PyErr_ExceptionMatches(self->state->cancelled_error)) return PYGEN_ERROR;
    Ref<> cancelled = Ref<>::steal(take_exception());
    PyObject* timeout = PyObject_CallNoArgs(PyExc_TimeoutError);
    if (timeout == nullptr) return fail(result);
    PyException_SetContext(timeout, Py_NewRef(cancelled.get()));
    PyException_SetCause(timeout, cancelled.release());
    return end_with_exception(timeout, result);
}

bool is_child_done(const WaitFor* self) noexcept {
    return as_base(self->awaitable)->state != kPending;
}

// The wait was cancelled. Takes over `thrown`.
PySendResult end_cancelled(WaitFor* self, DoneCallback* callback, PyObject* thrown,
                           PyObject** result) noexcept {
    if (!is_child_done(self)) {
        self->cancelled = thrown;
        return give_up(self, callback, result);
    }
    PySendResult sent = end_with_result(self, result);
    if (sent == PYGEN_ERROR) set_context(thrown);
    Py_DECREF(thrown);
    return sent;
}

}  // namespace

Began begin_wait_for(Loop* loop, WaitFor* self, double seconds, PySendResult& sent,
                     PyObject** result) noexcept {
    if (!is_ordinary(loop, self->awaitable)) return Began::kNo;
    double time;
    self->callback = new_done_callback(
        self->state, &kRelease,
        {.owner = object(self), .part = nullptr, .awaiter = nullptr, .context = nullptr});
    if (self->callback == nullptr || !expect_children(self->callback, 1) ||
        !read_clock(loop, time) ||
        !arm(loop, time_point(time + seconds), object(self), self->deadline, expire))
        return Began::kFailed;
    Ref<> child = child_of(loop, self->awaitable);
    if (!child || !add_to_child(self->callback, as_base(child.get()))) {
        disarm(self->deadline);
        return Began::kFailed;
    }
    Py_SETREF(self->awaitable, child.release());
    sent = park(self, result);
    return Began::kYes;
}

PySendResult resume_wait_for(WaitFor* self, PyObject* value, PyObject* thrown,
                             PyObject** result) noexcept {
    disarm(self->deadline);
    // Where there is none it has given up before.
    Ref<DoneCallback> callback = Ref<DoneCallback>::steal(std::exchange(self->callback, nullptr));
    if (thrown == nullptr) {
        Py_DECREF(value);
        if (callback)
            return is_child_done(self) ? end_with_result(self, result)
                                       : give_up(self, callback.get(), result);
        if (self->cancelled == nullptr) return end_late(self, result);
        return end_with_exception(std::exchange(self->cancelled, nullptr), result);
    }
    if (callback && PyErr_GivenExceptionMatches(thrown, self->state->cancelled_error))
        return end_cancelled(self, callback.get(), thrown, result);
    raise_exception(thrown);
    if (self->cancelled != nullptr) set_context(self->cancelled);
    return fail(result);
}

int visit_wait_for(const WaitFor* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(self->callback));
    Py_VISIT(self->cancelled);
    return 0;
}

void clear_wait_for(WaitFor* self) noexcept {
    disarm(self->deadline);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->cancelled);
}

}  // namespace penstock::py

#endif
