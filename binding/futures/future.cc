#include "futures/future.h"

#include <cstring>

#include "futures/task.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "py/stop_iteration.h"
#include "py/trashcan.h"
#include "py/types.h"
#include "streams/handler_callback.h"
#include "sync/done_callback.h"

namespace penstock::py {
namespace {

void report_unscheduled(Loop* loop, BaseFuture* future, PyObject* callback) noexcept {
    report_exception(loop, "A done callback could not be scheduled", take_exception(),
                     {{"future", object(future)}, {"callback", callback}});
}

// Takes over `callback` and `context`.
void fire(Loop* loop, BaseFuture* future, PyObject* callback, PyObject* context) noexcept {
    if (is_native_task(loop->state, callback) && as_task(callback)->waiter == object(future)) {
        // A waiting task stands for its own wake-up.
        Task* task = as_task(callback);
        task->record.waker = current_task_id(loop);
        push_task(loop, task);
        Py_XDECREF(context);
        return;
    }
    if (Py_TYPE(callback) == loop->state->done_callback &&
        push_done_child(loop, as_done_callback(callback), object(future))) {
        Py_DECREF(callback);
        Py_XDECREF(context);
        return;
    }
    if (is_put_off(loop->state, callback, context)) [[unlikely]] {
        PyObject* made = make_handler_callback(loop->state, callback);
        if (made == nullptr) {
            report_unscheduled(loop, future, callback);
            Py_DECREF(callback);
            Py_DECREF(context);
            return;
        }
        Py_SETREF(callback, made);
    }
    PyObject* args[] = {object(future)};
    if (loop->reactor != nullptr) {
        Handle* handle = new_handle(loop, callback, args, 1, context);
        if (handle != nullptr && !loop->is_running) track(handle);
        if (handle == nullptr || !loop->reactor->try_push(make_word(WordKind::kHandle, handle)))
            [[unlikely]] {
            if (handle != nullptr) PyErr_NoMemory();
            Py_XDECREF(object(handle));
            report_unscheduled(loop, future, callback);
        }
    }
    Py_DECREF(callback);
    Py_XDECREF(context);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return visit_base_fields(self, visit, arg);
}

int clear(PyObject* self) {
    clear_base_fields(as_base(self));
    clear_dict(self);
    return 0;
}

void dealloc(PyObject* self) {
    BaseFuture* future = as_base(self);
    PyTypeObject* type = Py_TYPE(self);
    // A subclass's dealloc has called the finalizer already.
    if (future->log_tb && !PyObject_GC_IsFinalized(self))
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    PyObject_GC_UnTrack(self);
    auto clear_all = [self, future] {
        clear_instance(self);
        clear_base_fields(future);
    };
    State* state = state_of_exact_type(type);
    if (state == nullptr) {
        clear_all();  // a subclass, whose own dealloc has seen to the depth
    } else {
        bool keep = !PyObject_GC_IsFinalized(self);
        if (!clear_in_trashcan(state, self, dealloc, clear_all)) return;
        if (keep && state->free_futures.push(self)) return;
    }
    type->tp_free(self);
    Py_DECREF(object(type));
}

// What stands in `_callbacks` for a task that waits: as in asyncio, a built-in method of the task.
// Called by the loop it steps the task at once, as asyncio's does.
PyObject* wake_up(PyObject* self, PyObject*) {
    Task* task = as_task(self);
    Loop* loop = native_loop(task);
    bool may_step = loop != nullptr && loop->thread == PyThreadState_Get() &&
                    loop->stepping == nullptr && loop->reactor != nullptr;
    if (!may_step) return PyObject_CallNoArgs(self);
    step_task(loop, as_task(Py_NewRef(self)));
    if (loop->failure != nullptr) {
        raise_exception(std::exchange(loop->failure, nullptr));
        return nullptr;
    }
    Py_RETURN_NONE;
}
PyMethodDef wake_up_definition = {"task_wakeup", wake_up, METH_O, nullptr};

PyObject* shown_callback(State* state, PyObject* callback, PyObject* context) noexcept {
    Ref<> shown = is_native_task(state, callback) ? Ref<>::steal(new_wake_up(callback))
                                                  : Ref<>::borrow(callback);
    return shown ? PyTuple_Pack(2, shown.get(), context) : nullptr;
}

PyMethodDef methods[] = {
    {"set_result", future_set_result, METH_O,
     "set_result($self, result, /)\n--\n\nMark the future done and set its result."},
    {"result", future_result_method, METH_NOARGS,
     "result($self)\n--\n\nReturn the result this future represents."},
    {"done", future_done, METH_NOARGS, "done($self)\n--\n\nReturn True if the future is done."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_callbacks", future_callbacks, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_getset, attributes},
    {Py_tp_doc, const_cast<char*>("asyncio.Future with native scheduling (see asyncio.Future).")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, methods},
    {Py_am_await, reinterpret_cast<void*>(await_future)},
    {Py_tp_iter, reinterpret_cast<void*>(await_future)},
    {0, nullptr}};

PyType_Spec spec = {"penstock._core.Future", sizeof(Future), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

PyObject* new_wake_up(PyObject* task) noexcept {
    return PyCFunction_New(&wake_up_definition, task);
}

Loop* find_native_loop(State* state, PyObject* loop) noexcept {
    if (loop == nullptr) return nullptr;
    if (Py_TYPE(loop) != state->plain_loop) [[unlikely]] {
        if (!PyObject_TypeCheck(loop, state->loop)) return nullptr;
        state->plain_loop = Py_TYPE(loop);
    }
    return as_loop(loop)->is_plain ? as_loop(loop) : nullptr;
}

PyObject* new_future(Loop* loop) noexcept {
    State* state = loop->state;
    PyObject* made = state->free_futures.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, state->future);
        if (made == nullptr) return nullptr;
    }
    std::memset(reinterpret_cast<char*>(made) + sizeof(PyObject), 0,
                sizeof(Future) - sizeof(PyObject));
    BaseFuture* future = as_base(made);
    future->loop = Py_NewRef(object(loop));
    PyObject_GC_Track(made);
    if (loop->is_debug) [[unlikely]] {
        future->source_tb = PyObject_CallNoArgs(state->extract_stack);
        if (future->source_tb == nullptr) {
            Py_DECREF(made);
            return nullptr;
        }
    }
    return made;
}

Ref<> create_future(PyObject* loop) noexcept {
    Ref<> asked = Ref<>::borrow(loop != nullptr ? loop : Py_None);
    return Ref<>::steal(PyObject_CallMethod(asked.get(), "create_future", nullptr));
}

void fire_callbacks(Loop* loop, BaseFuture* future) noexcept {
    PyObject* callback = std::exchange(future->callback0, nullptr);
    if (callback != nullptr) fire(loop, future, callback, std::exchange(future->context0, nullptr));
    PyObject* more = std::exchange(future->callbacks, nullptr);
    if (more == nullptr) [[likely]]
        return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(more); ++i) {
        PyObject* pair = PyList_GET_ITEM(more, i);
        fire(loop, future, Py_NewRef(PyTuple_GET_ITEM(pair, 0)),
             Py_NewRef(PyTuple_GET_ITEM(pair, 1)));
    }
    Py_DECREF(more);
}

void finish_future(Loop* loop, BaseFuture* future, PyObject* result) noexcept {
    future->result = result;
    future->state = kFinished;
    fire_callbacks(loop, future);
}

bool is_pending(const State* state, PyObject* future) noexcept {
    if (state->native_task && PyObject_TypeCheck(future, state->base_future))
        return as_base(future)->state == kPending;
    Ref<> done = Ref<>::steal(PyObject_CallMethod(future, "done", nullptr));
    if (!done) PyErr_Clear();
    return done.get() == Py_False;
}

namespace {

// Whether it is a future of ours, whose fields we write.
bool is_ours(Loop* loop, PyObject* future) noexcept {
    return loop->state->native_task && find_native_loop(loop->state, as_base(future)->loop) == loop;
}

void call_setter(PyObject* future, PyObject* setter, PyObject* value) noexcept {
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(future, setter, value));
    if (!done) PyErr_WriteUnraisable(future);
}

}  // namespace

void complete_with(Loop* loop, PyObject* future, PyObject* result) noexcept {
    Ref<> owned = Ref<>::steal(result);
    if (!is_pending(loop->state, future)) return;
    if (is_ours(loop, future)) return finish_future(loop, as_base(future), owned.release());
    call_setter(future, loop->state->str_set_result, result);
}

void complete_with_none(Loop* loop, PyObject* future) noexcept {
    complete_with(loop, future, Py_NewRef(Py_None));
}

void fail_with(Loop* loop, PyObject* future, PyObject* exception) noexcept {
    Ref<> owned = Ref<>::steal(exception);
    if (!is_pending(loop->state, future)) return;
    if (!is_ours(loop, future))
        return call_setter(future, loop->state->str_set_exception, exception);
    BaseFuture* base = as_base(future);
    base->exception_tb = PyException_GetTraceback(exception);
    base->exception = owned.release();
    base->log_tb = 1;
    base->state = kFinished;
    fire_callbacks(loop, base);
}

bool set_unless_cancelled(State* state, PyObject* future, PyObject* setter,
                          PyObject* value) noexcept {
    Ref<> cancelled = Ref<>::steal(PyObject_CallMethodNoArgs(future, state->str_cancelled));
    int is_cancelled = cancelled ? PyObject_IsTrue(cancelled.get()) : -1;
    if (is_cancelled != 0) return is_cancelled > 0;
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(future, setter, value));
    return static_cast<bool>(done);
}

bool add_waiter(Loop* loop, BaseFuture* future, Task* task) noexcept {
    if (future->state != kPending) {
        push_task(loop, task);
        return true;
    }
    return add_native_callback(future, object(task));
}

bool add_native_callback(BaseFuture* future, PyObject* callback) noexcept {
    // The context must not be NULL: `_callbacks` and add_done_callback() of the base read it.
    if (future->callback0 == nullptr && future->callbacks == nullptr) [[likely]] {
        future->callback0 = callback;
        future->context0 = Py_NewRef(Py_None);
        return true;
    }
    Ref<> pair = Ref<>::steal(PyTuple_Pack(2, callback, Py_None));
    if (!pair) return false;
    if (future->callbacks == nullptr) future->callbacks = PyList_New(0);
    if (future->callbacks == nullptr || PyList_Append(future->callbacks, pair.get()) < 0)
        return false;
    Py_DECREF(callback);
    return true;
}

void raise_cancelled(const State* state, BaseFuture* future) noexcept {
    PyObject* exception = std::exchange(future->cancelled_exc, nullptr);
    if (exception == nullptr) {
        bool has_message = future->cancel_msg != nullptr && future->cancel_msg != Py_None;
        exception = has_message ? PyObject_CallOneArg(state->cancelled_error, future->cancel_msg)
                                : PyObject_CallNoArgs(state->cancelled_error);
    }
    if (exception == nullptr) return;
    PyErr_SetObject(object(Py_TYPE(exception)), exception);
    Py_DECREF(exception);
}

PyObject* future_result(const State* state, BaseFuture* future) noexcept {
    if (future->state == kFinished && future->exception == nullptr) [[likely]] {
        future->log_tb = 0;
        return Py_NewRef(future->result);
    }
    if (future->state == kCancelled) {
        raise_cancelled(state, future);
        return nullptr;
    }
    if (future->state == kPending) {
        PyErr_SetString(state->invalid_state_error, "Result is not set.");
        return nullptr;
    }
    future->log_tb = 0;
    Ref<> exception = Ref<>::borrow(future->exception);
    // Each result() starts the traceback where the exception was set, not where it was last raised.
    PyObject* traceback = future->exception_tb != nullptr ? future->exception_tb : Py_None;
    if (PyException_SetTraceback(exception.get(), traceback) < 0) return nullptr;
    Py_CLEAR(future->exception_tb);
    // Its context is what is handled now.
    PyErr_SetObject(object(Py_TYPE(exception.get())), exception.get());
    return nullptr;
}

void add_awaited_by([[maybe_unused]] BaseFuture* future, [[maybe_unused]] PyObject* task) noexcept {
#if PY_VERSION_HEX >= 0x030E0000
    if (future->awaited_by == nullptr) [[likely]] {
        future->awaited_by = Py_NewRef(task);
        return;
    }
    if (!future->awaited_by_is_set) {
        if (future->awaited_by == task) return;
        PyObject* set = PySet_New(nullptr);
        if (set == nullptr || PySet_Add(set, future->awaited_by) < 0 || PySet_Add(set, task) < 0) {
            Py_XDECREF(set);
            PyErr_Clear();  // the graph is for people; a task runs on without its edge
            return;
        }
        Py_SETREF(future->awaited_by, set);
        future->awaited_by_is_set = 1;
        return;
    }
    if (PySet_Add(future->awaited_by, task) < 0) PyErr_Clear();
#endif
}

void discard_awaited_by([[maybe_unused]] BaseFuture* future,
                        [[maybe_unused]] PyObject* task) noexcept {
#if PY_VERSION_HEX >= 0x030E0000
    if (future->awaited_by == nullptr) return;
    if (future->awaited_by_is_set) {
        if (PySet_Discard(future->awaited_by, task) < 0) PyErr_Clear();
    } else if (future->awaited_by == task) {
        Py_CLEAR(future->awaited_by);
    }
#endif
}

void clear_base_fields(BaseFuture* future) noexcept {
    Py_CLEAR(future->callback0);
    Py_CLEAR(future->context0);
    Py_CLEAR(future->callbacks);
    Py_CLEAR(future->exception);
    Py_CLEAR(future->exception_tb);
    Py_CLEAR(future->result);
    Py_CLEAR(future->source_tb);
    Py_CLEAR(future->cancel_msg);
    Py_CLEAR(future->cancelled_exc);
#if PY_VERSION_HEX >= 0x030E0000
    Py_CLEAR(future->awaited_by);
#endif
    Py_CLEAR(future->loop);
}

void clear_dict(PyObject* self) noexcept {
#if PY_VERSION_HEX < 0x030D0000
    Py_CLEAR(as_base(self)->dict);
#else
    PyObject_ClearManagedDict(self);
#endif
}

void clear_instance(PyObject* self) noexcept {
#if PY_VERSION_HEX < 0x030D0000
    if (as_base(self)->weakrefs != nullptr)
#endif
        PyObject_ClearWeakRefs(self);
    clear_dict(self);
}

int visit_base_fields(PyObject* self, visitproc visit, void* arg) noexcept {
    BaseFuture* future = as_base(self);
    Py_VISIT(future->loop);
    Py_VISIT(future->callback0);
    Py_VISIT(future->context0);
    Py_VISIT(future->callbacks);
    Py_VISIT(future->exception);
    Py_VISIT(future->exception_tb);
    Py_VISIT(future->result);
    Py_VISIT(future->source_tb);
    Py_VISIT(future->cancel_msg);
    Py_VISIT(future->cancelled_exc);
#if PY_VERSION_HEX >= 0x030E0000
    Py_VISIT(future->awaited_by);
#endif
#if PY_VERSION_HEX < 0x030D0000
    Py_VISIT(future->dict);
    return 0;
#else
    return PyObject_VisitManagedDict(self, visit, arg);
#endif
}

PyObject* future_set_result(PyObject* self, PyObject* result) {
    BaseFuture* future = as_base(self);
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return nullptr;
    Loop* loop = find_native_loop(state, future->loop);
    // In debug mode the base's goes through call_soon(), which looks at the thread.
    if (loop == nullptr || loop->reactor == nullptr || loop->is_debug) [[unlikely]] {
        Ref<> base = Ref<>::steal(PyObject_GetAttrString(object(state->base_future), "set_result"));
        return base ? PyObject_CallFunctionObjArgs(base.get(), self, result, nullptr) : nullptr;
    }
    if (future->state != kPending) {
        PyErr_SetString(loop->state->invalid_state_error, "invalid state");
        return nullptr;
    }
    finish_future(loop, future, Py_NewRef(result));
    Py_RETURN_NONE;
}

PyObject* future_result_method(PyObject* self, PyObject*) {
    BaseFuture* future = as_base(self);
    if (future->state == kFinished && future->exception == nullptr) [[likely]] {
        future->log_tb = 0;
        return Py_NewRef(future->result);
    }
    State* state = state_of_type(Py_TYPE(self));
    return state != nullptr ? future_result(state, future) : nullptr;
}

PyObject* future_callbacks(PyObject* self, void*) {
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return nullptr;
    BaseFuture* future = as_base(self);
    if (future->callback0 == nullptr && future->callbacks == nullptr) Py_RETURN_NONE;
    if (!settle_handler_callback(state, future)) return nullptr;
    Ref<> list = Ref<>::steal(PyList_New(0));
    if (!list) return nullptr;
    if (future->callback0 != nullptr) {
        Ref<> pair = Ref<>::steal(shown_callback(state, future->callback0, future->context0));
        if (!pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
    }
    for (Py_ssize_t i = 0; future->callbacks != nullptr && i < PyList_GET_SIZE(future->callbacks);
         ++i) {
        PyObject* kept = PyList_GET_ITEM(future->callbacks, i);
        Ref<> pair = Ref<>::steal(
            shown_callback(state, PyTuple_GET_ITEM(kept, 0), PyTuple_GET_ITEM(kept, 1)));
        if (!pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
    }
    return list.release();
}

PyObject* future_done(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_base(self)->state != kPending && as_base(self)->loop != nullptr);
}

bool add_future_types(PyObject* module, State* state) {
    return add_type(module, spec, object(state->base_future), state->future);
}

}  // namespace penstock::py
