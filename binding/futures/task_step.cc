// One step of a task: send into the coroutine what it waits for, and act on what it yields.
#include "futures/future.h"
#include "futures/task.h"
#include "loop/loop.h"
#include "py/ref.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

// What the task has waited for is over: the exception to throw into it, or nullptr. Never
// leaves an exception pending.
PyObject* outcome_of_wait(Loop* loop, Task* task) noexcept {
    State* state = loop->state;
    PyObject* exception = nullptr;
    PyObject* waiter = std::exchange(task->waiter, nullptr);
    if (waiter != nullptr) {
        if (is_known_future(state, waiter)) [[likely]] {
            BaseFuture* future = as_base(waiter);
            discard_awaited_by(future, object(task));
            if (future->state != kFinished || future->exception != nullptr) {
                Py_XDECREF(future_result(state, future));
                exception = take_exception();
            }
        } else if (is_native_coroutine(waiter)) {
            exception = coroutine_exception(waiter);
        } else if (PyExceptionInstance_Check(waiter)) {
            exception = Py_NewRef(waiter);  // see fail_soon()
        } else {
            if (PyObject_TypeCheck(waiter, state->base_future) ||
                PyObject_TypeCheck(waiter, state->base_task))
                discard_awaited_by(as_base(waiter), object(task));
            PyObject* result = PyObject_CallMethodNoArgs(waiter, state->str_result);
            Py_XDECREF(result);
            if (result == nullptr) exception = take_exception();
        }
        Py_DECREF(waiter);
    }
    if (task->must_cancel) [[unlikely]] {
        task->must_cancel = 0;
        if (exception == nullptr ||
            !PyErr_GivenExceptionMatches(exception, state->cancelled_error)) {
            raise_cancelled(state, as_base(task));
            Py_XSETREF(exception, take_exception());
        }
    }
    return exception;
}

// Takes over `exception`.
PySendResult throw_into(Loop* loop, PyObject* coro, PyObject* exception,
                        PyObject** result) noexcept {
    *result = PyObject_CallMethodOneArg(coro, loop->state->str_throw_, exception);
    Py_DECREF(exception);
    if (*result != nullptr) return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return PYGEN_ERROR;
    PyObject* stop = take_exception();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) [[unlikely]] {
        raise_exception(stop);  // on 3.11 it is made only now: there was no memory for it
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(reinterpret_cast<PyStopIterationObject*>(stop)->value);
    Py_DECREF(stop);
    return PYGEN_RETURN;
}

// What is pending, or a RuntimeError, is thrown into the task at its next step.
void fail_soon(Loop* loop, Task* task, Ref<> message) noexcept {
    if (message) PyErr_SetObject(PyExc_RuntimeError, message.get());
    Ref<> exception = Ref<>::steal(take_exception());
    PyObject* failed = new_future(loop);
    if (failed != nullptr) {
        as_base(failed)->exception = exception.release();
        as_base(failed)->state = kFinished;
        task->waiter = failed;
    } else {
        PyErr_Clear();
        task->waiter = exception.release();  // it stands for such a future where memory is out
    }
    push_task(loop, task);
}

// There is no memory to wait for `task->waiter`.
void give_up_wait(Loop* loop, Task* task) noexcept {
    PyObject* pending = take_exception();
    PyObject* waiter = std::exchange(task->waiter, nullptr);
    discard_awaited_by(as_base(waiter), object(task));
    Py_DECREF(waiter);
    task->record.wait_kind = WaitKind::kNothing;
    raise_exception(pending);
    fail_soon(loop, task, {});
}

// A task that was cancelled before it came to wait cancels what it waits for.
void pass_on_cancellation(State* state, Task* task, PyObject* awaited) noexcept {
    PyObject* message = task->cancel_msg != nullptr ? task->cancel_msg : Py_None;
    int was_cancelled = cancel_awaited(state, awaited, message);
    if (was_cancelled > 0)
        task->must_cancel = 0;
    else if (was_cancelled < 0)
        PyErr_Clear();
}

// `task` waits for a future of another make. Takes over both references.
void wait_for_foreign(Loop* loop, Task* task, PyObject* future) noexcept {
    State* state = loop->state;
    if (!materialise_context(task)) return fail_soon(loop, task, {});
    Ref<> wake_up = Ref<>::steal(new_wake_up(object(task)));
    PyObject* args[] = {future, wake_up.get(), task->context};
    Ref<> added =
        Ref<>::steal(wake_up ? PyObject_VectorcallMethod(state->str_add_done_callback, args,
                                                         2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                         state->context_keyword)
                             : nullptr);
    if (!added) {
        Py_DECREF(future);
        return fail_soon(loop, task, {});
    }
    task->waiter = future;
    task->record.wait_kind = WaitKind::kForeign;
    if (PyObject_TypeCheck(future, state->base_future) ||
        PyObject_TypeCheck(future, state->base_task))
        add_awaited_by(as_base(future), object(task));
    else if (state->future_add_to_awaited_by != nullptr) {
        Ref<> done = Ref<>::steal(PyObject_CallFunctionObjArgs(state->future_add_to_awaited_by,
                                                               future, object(task), nullptr));
        if (!done) PyErr_Clear();
    }
    if (task->must_cancel) {
        pass_on_cancellation(state, task, future);
    }
    Py_DECREF(object(task));
}

// The loop that asyncio.futures._get_loop() finds: a new reference.
Ref<> loop_of(State* state, PyObject* future) noexcept {
    if (is_known_future(state, future)) return Ref<>::borrow(as_base(future)->loop);
    Ref<> get_loop = Ref<>::steal(PyObject_GetAttr(future, state->str_get_loop));
    if (get_loop) return Ref<>::steal(PyObject_CallNoArgs(get_loop.get()));
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return {};
    PyErr_Clear();
    return Ref<>::steal(PyObject_GetAttr(future, state->str__loop));
}

// Everything that a coroutine may yield and that is not one of the four known types, None or a
// coroutine of ours. Takes over both references.
void act_on_other(Loop* loop, Task* task, PyObject* yielded) noexcept {
    State* state = loop->state;
    Ref<> owned = Ref<>::steal(yielded);
    Ref<> text;
    if (yielded == object(task)) {
        text = Ref<>::steal(PyUnicode_FromFormat("Task cannot await on itself: %R", object(task)));
        return fail_soon(loop, task, std::move(text));
    }
    Ref<> blocking = Ref<>::steal(PyObject_GetAttr(yielded, state->str__asyncio_future_blocking));
    if (!blocking) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return fail_soon(loop, task, {});
        PyErr_Clear();
    }
    if (blocking && blocking.get() != Py_None) {
        Ref<> its_loop = loop_of(state, yielded);
        if (!its_loop) return fail_soon(loop, task, {});
        if (its_loop.get() != object(loop)) {
            text = Ref<>::steal(PyUnicode_FromFormat(
                "Task %R got Future %R attached to a different loop", object(task), yielded));
            return fail_soon(loop, task, std::move(text));
        }
        int is_true = PyObject_IsTrue(blocking.get());
        if (is_true < 0) return fail_soon(loop, task, {});
        if (!is_true) {
            text = Ref<>::steal(PyUnicode_FromFormat(
                "yield was used instead of yield from in task %R with %R", object(task), yielded));
            return fail_soon(loop, task, std::move(text));
        }
        if (PyObject_SetAttr(yielded, state->str__asyncio_future_blocking, Py_False) < 0)
            return fail_soon(loop, task, {});
        return wait_for_foreign(loop, task, owned.release());
    }
    if (PyGen_CheckExact(yielded))
        text = Ref<>::steal(PyUnicode_FromFormat(
            "yield was used instead of yield from for generator in task %R with %R", object(task),
            yielded));
    else
        text = Ref<>::steal(PyUnicode_FromFormat("Task got bad yield: %R", yielded));
    fail_soon(loop, task, std::move(text));
}

// Takes over both references.
void act_on_yield(Loop* loop, Task* task, PyObject* yielded) noexcept {
    State* state = loop->state;
    if (yielded == Py_None) {
        Py_DECREF(yielded);
        task->record.wait_kind = WaitKind::kNothing;
        return push_task(loop, task);
    }
    task->record.since = loop->reactor->turn_time().time_since_epoch().count();
    if (is_native_coroutine(yielded)) {
        task->record.wait_kind = as_coroutine(yielded)->kind->wait_kind;
        task->waiter = yielded;
        return wait_for_coroutine(loop, yielded, task);
    }
    BaseFuture* future = as_base(yielded);
    if (!is_known_future(state, yielded) || !future->blocking || yielded == object(task) ||
        future->loop != object(loop)) [[unlikely]]
        return act_on_other(loop, task, yielded);
    future->blocking = 0;
    task->waiter = yielded;
    task->record.wait_kind = Py_TYPE(yielded) == state->task ? WaitKind::kTask : WaitKind::kFuture;
    add_awaited_by(future, object(task));
    if (task->must_cancel) [[unlikely]] {
        Py_INCREF(object(task));
        if (!add_waiter(loop, future, task)) {
            Py_DECREF(object(task));
            return give_up_wait(loop, task);
        }
        pass_on_cancellation(state, task, yielded);
        Py_DECREF(object(task));
        return;
    }
    if (!add_waiter(loop, future, task)) [[unlikely]]
        give_up_wait(loop, task);
}

// Takes over `exception`, with which the coroutine has ended.
void finish_with_exception(Loop* loop, Task* task, PyObject* exception) noexcept {
    State* state = loop->state;
    if (PyErr_GivenExceptionMatches(exception, state->cancelled_error)) {
        Py_XSETREF(task->cancelled_exc, exception);
        Py_CLEAR(task->cancel_msg);
        return finish_task(loop, task, kCancelled);
    }
    bool ends_the_run = PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt) ||
                        PyErr_GivenExceptionMatches(exception, PyExc_SystemExit);
    if (ends_the_run) Py_XSETREF(loop->failure, Py_NewRef(exception));
    task->exception = exception;
    task->exception_tb = PyException_GetTraceback(exception);
    task->log_tb = 1;
    finish_task(loop, task, kFinished);
}

// Somebody has set the task's own result, as asyncio.Future.set_result(task, …) does.
void report_already_done(Loop* loop, Task* task, PyObject* thrown) noexcept {
    PyErr_Format(loop->state->invalid_state_error, "__step(): already done: %R, %R", object(task),
                 thrown != nullptr ? thrown : Py_None);
    report_exception(loop, "Exception in callback Task.task_step()", take_exception(),
                     {{"task", object(task)}});
}

PySendResult resume(Loop* loop, Task* task, PyObject* thrown, PyObject** yielded) noexcept {
    Ref<> held = Ref<>::borrow(task->coro);  // a second Task.__init__() may drop it as it runs
    PyObject* coro = held.get();
    if (thrown != nullptr) [[unlikely]]
        return throw_into(loop, coro, thrown, yielded);
    if (PyCoro_CheckExact(coro)) [[likely]]
        return PyCoro_Type.tp_as_async->am_send(coro, Py_None, yielded);
    return PyIter_Send(coro, Py_None, yielded);
}

}  // namespace

void finish_task(Loop* loop, Task* task, FutureState end) noexcept {
    task->state = end;
    task->record.wait_kind = WaitKind::kNothing;
    unlink_task(task);
    fire_callbacks(loop, as_base(task));
}

void step_task(Loop* loop, Task* task) noexcept {
    if (task->state != kPending || task->coro == nullptr) [[unlikely]] {
        if (task->coro != nullptr) report_already_done(loop, task, nullptr);
        Py_DECREF(object(task));
        return;
    }
    PyObject* thrown = nullptr;
    if (task->waiter != nullptr || task->must_cancel) thrown = outcome_of_wait(loop, task);
    task->record.wait_kind = WaitKind::kNothing;
    loop->stepping = task;
    // Else it would go on as if it were no task.
    if (!set_current_task(loop, object(task)) && thrown == nullptr) [[unlikely]] {
        PyErr_NoMemory();
        thrown = take_exception();
    }
    PyObject* yielded = nullptr;
    PySendResult sent = PYGEN_ERROR;
    bool is_bare = task->vars != nullptr;
    if (is_bare) loop->in_scratch = task;
    PyObject*& context = is_bare ? task->vars : task->context;
    auto send = [&] { sent = resume(loop, task, thrown, &yielded); };
    bool entered = true;
    if (task->context == loop->thread->context) [[unlikely]]
        send();  // woken by a callback that runs in the task's context
    else
        entered = run_in_context(loop, context, true, send);
    loop->stepping = nullptr;
    if (is_bare) loop->in_scratch = nullptr;
    if (is_bare && is_context(task->vars)) [[unlikely]] {
        // Somebody has kept the context object of this step: it is the task's own from now on.
        Py_XSETREF(task->context, std::exchange(task->vars, nullptr));
    }
    if (!entered) {  // sent is PYGEN_ERROR, and the coroutine has not run
        Py_XDECREF(thrown);
    }
    if (sent == PYGEN_NEXT) [[likely]]
        return act_on_yield(loop, task, yielded);
    if (task->state != kPending) [[unlikely]] {
        Py_XDECREF(yielded);
        Ref<> raised = Ref<>::steal(take_exception());
        report_already_done(loop, task, raised.get());
        Py_DECREF(object(task));
        return;
    }
    if (sent == PYGEN_RETURN) [[likely]] {
        if (task->must_cancel) [[unlikely]] {
            // Cancelled in its very last step: there is no later one to throw into.
            task->must_cancel = 0;
            Py_DECREF(yielded);
            finish_task(loop, task, kCancelled);
        } else {
            task->result = yielded;
            finish_task(loop, task, kFinished);
        }
    } else {
        finish_with_exception(loop, task, take_exception());
    }
    Py_DECREF(object(task));
}

}  // namespace penstock::py
