#include "sync/coroutine.h"

#include <cstring>

#include "futures/future_iter.h"
#include "futures/task.h"
#include "loop/loop.h"
#include "py/ref.h"
#include "py/stop_iteration.h"
#include "py/trashcan.h"
#include "py/types.h"
#include "sync/coroutine_iter.h"

namespace penstock::py {
namespace {

bool is_suspended(const Coroutine* self) noexcept {
    return self->phase != CoroutinePhase::kNew && self->phase != CoroutinePhase::kRunning &&
           self->phase != CoroutinePhase::kOver;
}

PySendResult settle(Coroutine* self, PySendResult sent) noexcept {
    if (sent != PYGEN_NEXT) self->phase = CoroutinePhase::kOver;
    return sent;
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    self->phase = CoroutinePhase::kRunning;
    return settle(self, self->kind->resume(self, value, thrown, result));
}

// Sends `value` to what the coroutine delegates to.
PySendResult delegate(Coroutine* self, PyObject* value, PyObject** result) noexcept {
    Ref<> inner = Ref<>::borrow(self->inner);
    self->phase = CoroutinePhase::kRunning;
    PySendResult sent = PyIter_Send(inner.get(), value, result);
    if (sent == PYGEN_NEXT) {
        self->phase = CoroutinePhase::kDelegated;
        return sent;
    }
    Py_CLEAR(self->inner);
    PyObject* ended = std::exchange(*result, nullptr);
    if (sent == PYGEN_ERROR) return resume(self, nullptr, take_exception(), result);
    return resume(self, ended, nullptr, result);
}

// Whoever calls it, or another method, holds a reference until it returns.
PySendResult am_send(PyObject* object_, PyObject* value, PyObject** result) {
    Coroutine* self = as_coroutine(object_);
    *result = nullptr;
    switch (self->phase) {
        case CoroutinePhase::kNew: {
            if (value != Py_None) {
                PyErr_SetString(PyExc_TypeError,
                                "can't send non-None value to a just-started coroutine");
                return PYGEN_ERROR;
            }
            self->phase = CoroutinePhase::kRunning;
            return settle(self, self->kind->begin(self, result));
        }
        case CoroutinePhase::kWoken:
        case CoroutinePhase::kYielded: return resume(self, Py_NewRef(Py_None), nullptr, result);
        case CoroutinePhase::kDelegated: return delegate(self, value, result);
        case CoroutinePhase::kRunning:
            PyErr_SetString(PyExc_ValueError, "coroutine already executing");
            return PYGEN_ERROR;
        case CoroutinePhase::kOver:
            PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
            return PYGEN_ERROR;
        default:
            PyErr_SetString(PyExc_RuntimeError, self->task != nullptr
                                                    ? "coroutine is being awaited already"
                                                    : "await wasn't used with future");
            return PYGEN_ERROR;
    }
}

PyObject* send(PyObject* self, PyObject* value) {
    PyObject* result = nullptr;
    PySendResult sent = am_send(self, value, &result);
    if (sent == PYGEN_NEXT) return result;
    return sent == PYGEN_RETURN ? stop_with(result) : nullptr;
}

// A parked wait ends early. The task that waited is the caller's to let go, once the coroutine has
// come to rest: with it may go what awaits us, and close us.
Ref<Task> withdraw(Coroutine* self, CoroutinePhase phase) noexcept {
    if (self->phase != CoroutinePhase::kParked) {
        self->phase = phase;
        return {};
    }
    self->phase = phase;
    Ref<Task> task = Ref<Task>::steal(std::exchange(self->task, nullptr));
    if (self->kind->withdraw != nullptr) {
        Loop* loop = task ? native_loop(task.get()) : running_loop(self->state);
        if (loop != nullptr) self->kind->withdraw(self, loop);
    }
    return task;
}

// Throws `exception`, taken over, where the coroutine stands.
PySendResult throw_here(Coroutine* self, PyObject* exception, PyObject** result) noexcept {
    switch (self->phase) {
        case CoroutinePhase::kNew:
            self->phase = CoroutinePhase::kOver;
            return end_with_exception(exception, result);
        case CoroutinePhase::kOver:
            Py_DECREF(exception);
            PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
            return fail(result);
        case CoroutinePhase::kRunning:
            Py_DECREF(exception);
            PyErr_SetString(PyExc_ValueError, "coroutine already executing");
            return fail(result);
        default: {
            Ref<Task> waited = withdraw(self, CoroutinePhase::kRunning);
            return resume(self, nullptr, exception, result);
        }
    }
}

// The method `name` of what the coroutine delegates to: nullptr without an exception set where it
// has none.
Ref<> inner_method(Coroutine* self, PyObject* name) noexcept {
    Ref<> found = Ref<>::steal(PyObject_GetAttr(self->inner, name));
    if (!found && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    return found;
}

// Closes what the coroutine delegates to; an exception of its own is what comes instead of
// `exception`.
PyObject* close_inner(Coroutine* self, PyObject* exception) noexcept {
    Ref<> close = inner_method(self, self->state->str_close);
    Ref<> closed = Ref<>::steal(close ? PyObject_CallNoArgs(close.get()) : nullptr);
    Py_CLEAR(self->inner);
    if (closed || PyErr_Occurred() == nullptr) return exception;
    Py_DECREF(exception);
    return take_exception();
}

PySendResult throw_exception(Coroutine* self, PyObject* exception, PyObject** result) noexcept {
    if (self->phase != CoroutinePhase::kDelegated) return throw_here(self, exception, result);
    self->phase = CoroutinePhase::kRunning;
    if (PyErr_GivenExceptionMatches(exception, PyExc_GeneratorExit))
        return resume(self, nullptr, close_inner(self, exception), result);
    Ref<> thrown = Ref<>::steal(exception);
    Ref<> inner = Ref<>::borrow(self->inner);
    Ref<> method = inner_method(self, self->state->str_throw_);
    if (!method) {
        Py_CLEAR(self->inner);
        if (PyErr_Occurred() == nullptr) raise_exception(thrown.release());
        return resume(self, nullptr, take_exception(), result);
    }
    *result = PyObject_CallOneArg(method.get(), thrown.get());
    if (*result != nullptr) {
        self->phase = CoroutinePhase::kDelegated;
        return PYGEN_NEXT;
    }
    Py_CLEAR(self->inner);
    PyObject* raised = take_exception();
    if (!PyErr_GivenExceptionMatches(raised, PyExc_StopIteration))
        return resume(self, nullptr, raised, result);
    PyObject* value = Py_NewRef(reinterpret_cast<PyStopIterationObject*>(raised)->value);
    Py_DECREF(raised);
    return resume(self, value, nullptr, result);
}

PyObject* throw_into(PyObject* object_, PyObject* const* args, Py_ssize_t count) {
    raise_thrown(args, count);
    PyObject* result = nullptr;
    PySendResult sent = throw_exception(as_coroutine(object_), take_exception(), &result);
    if (sent == PYGEN_RETURN) return stop_with(result);
    return result;
}

PyObject* close(PyObject* object_, PyObject*) {
    Coroutine* self = as_coroutine(object_);
    if (self->phase == CoroutinePhase::kNew || self->phase == CoroutinePhase::kOver) {
        self->phase = CoroutinePhase::kOver;
        Py_RETURN_NONE;
    }
    PyErr_SetNone(PyExc_GeneratorExit);
    PyObject* result = nullptr;
    PySendResult sent = throw_exception(self, take_exception(), &result);
    if (sent == PYGEN_NEXT) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return nullptr;
    }
    Py_XDECREF(result);
    if (sent == PYGEN_ERROR) {
        if (!PyErr_ExceptionMatches(PyExc_GeneratorExit) &&
            !PyErr_ExceptionMatches(PyExc_StopIteration))
            return nullptr;
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

// Task.cancel() calls it on what the task waits for.
PyObject* cancel(PyObject* object_, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Coroutine* self = as_coroutine(object_);
    if (self->phase != CoroutinePhase::kParked) Py_RETURN_FALSE;
    PyObject* message = count + keyword_count(names) > 0 ? args[0] : Py_None;
    Py_XSETREF(self->brought, Py_NewRef(message));
    Ref<Task> task = withdraw(self, CoroutinePhase::kCancelled);
    Loop* loop = task ? native_loop(task.get()) : nullptr;
    if (loop != nullptr) {
        task->record.waker = current_task_id(loop);
        push_task(loop, task.release());
    }
    Py_RETURN_TRUE;
}

PyObject* done(PyObject* self, PyObject*) {
    return PyBool_FromLong(is_wait_over(as_coroutine(self)));
}

PyObject* cancelled(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_coroutine(self)->phase == CoroutinePhase::kCancelled);
}

PyObject* get_name(PyObject* self, void*) {
    return PyUnicode_InternFromString(as_coroutine(self)->kind->name);
}
PyObject* get_qualified_name(PyObject* self, void*) {
    return PyUnicode_InternFromString(as_coroutine(self)->kind->qualified_name);
}
PyObject* get_none(PyObject*, void*) { Py_RETURN_NONE; }
PyObject* get_awaited(PyObject* self, void*) {
    PyObject* inner = as_coroutine(self)->inner;
    return Py_NewRef(inner != nullptr ? inner : Py_None);
}
PyObject* get_running(PyObject* self, void*) {
    return PyBool_FromLong(as_coroutine(self)->phase == CoroutinePhase::kRunning);
}
PyObject* get_suspended(PyObject* self, void*) {
    return PyBool_FromLong(is_suspended(as_coroutine(self)));
}

PyObject* repr(PyObject* self) {
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                as_coroutine(self)->kind->qualified_name, self);
}

int traverse(PyObject* object_, visitproc visit, void* arg) {
    Coroutine* self = as_coroutine(object_);
    Py_VISIT(Py_TYPE(object_));
    Py_VISIT(self->inner);
    Py_VISIT(object(self->task));
    Py_VISIT(self->brought);
    return self->kind->visit(self, visit, arg);
}

int clear(PyObject* object_) {
    Coroutine* self = as_coroutine(object_);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->task);
    Py_CLEAR(self->brought);
    self->kind->clear(self);
    return 0;
}

// As a coroutine does: one that was never awaited is told of, one that is suspended is closed.
void finalize(PyObject* object_) {
    Coroutine* self = as_coroutine(object_);
    if (self->phase == CoroutinePhase::kOver) return;
    PyObject* pending = take_exception();
    if (self->phase == CoroutinePhase::kNew) {
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                             self->kind->qualified_name) < 0)
            PyErr_WriteUnraisable(object_);
    } else {
        Ref<> closed = Ref<>::steal(close(object_, nullptr));
        if (!closed) PyErr_WriteUnraisable(object_);
    }
    if (pending != nullptr) raise_exception(pending);
}

void dealloc(PyObject* object_) {
    Coroutine* self = as_coroutine(object_);
    if (self->phase != CoroutinePhase::kOver && PyObject_CallFinalizerFromDealloc(object_) < 0)
        return;
    PyObject_GC_UnTrack(object_);
    State* state = self->state;
    auto clear_all = [object_, self] {
        if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object_);
        clear(object_);
    };
    if (!clear_in_trashcan(state, object_, dealloc, clear_all)) return;
    if (!PyObject_GC_IsFinalized(object_) && (state->*self->kind->free).push(object_)) return;
    PyTypeObject* type = Py_TYPE(object_);
    type->tp_free(object_);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {
    // In the place of the slot's, which is for `await`.
    {"__await__", coroutine_await, METH_NOARGS | METH_COEXIST, nullptr},
    {"send", send, METH_O, nullptr},
    {"throw", method(throw_into), METH_FASTCALL, nullptr},
    {"close", close, METH_NOARGS, nullptr},
    {"cancel", method(cancel), kFast, nullptr},
    {"done", done, METH_NOARGS, nullptr},
    {"cancelled", cancelled, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"__name__", get_name, nullptr, nullptr, nullptr},
                            {"__qualname__", get_qualified_name, nullptr, nullptr, nullptr},
                            {"cr_await", get_awaited, nullptr, nullptr, nullptr},
                            {"cr_frame", get_none, nullptr, nullptr, nullptr},
                            {"cr_origin", get_none, nullptr, nullptr, nullptr},
                            {"cr_running", get_running, nullptr, nullptr, nullptr},
                            {"cr_suspended", get_suspended, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Coroutine, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A native coroutine: a coroutine in all but its type.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_am_await, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_am_send, reinterpret_cast<void*>(am_send)},
    {Py_tp_iternext, reinterpret_cast<void*>(coroutine_next)},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_members, members},
    {0, nullptr}};

// Registers the type as a coroutine's.
bool register_abstract(PyTypeObject* type) noexcept {
    Ref<> module = Ref<>::steal(PyImport_ImportModule("collections.abc"));
    Ref<> abstract =
        Ref<>::steal(module ? PyObject_GetAttrString(module.get(), "Coroutine") : nullptr);
    if (!abstract) return false;
    return static_cast<bool>(
        Ref<>::steal(PyObject_CallMethod(abstract.get(), "register", "O", object(type))));
}

}  // namespace

PyObject* coroutine_next(PyObject* self) {
    PyObject* result = nullptr;
    const Coroutine* coroutine = as_coroutine(self);
    switch (am_send(self, Py_None, &result)) {
        case PYGEN_NEXT: return result;
        case PYGEN_RETURN:
            return coroutine->kind->gives_away ? stop_with(result)
                                               : return_from_iter(coroutine->state, result);
        default: return nullptr;
    }
}

Coroutine* new_coroutine(State* state, PyTypeObject* type, const CoroutineKind* kind) noexcept {
    PyObject* made = (state->*kind->free).pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, type);
        if (made == nullptr) return nullptr;
    }
    Coroutine* self = as_coroutine(made);
    self->state = state;
    self->kind = kind;
    self->inner = nullptr;
    self->task = nullptr;
    self->brought = nullptr;
    self->weakrefs = nullptr;
    self->phase = CoroutinePhase::kNew;
    return self;
}

bool may_park(Loop* running) noexcept {
    // In debug mode a future tells where it was made.
    if (running == nullptr || running->stepping == nullptr || !running->is_plain ||
        running->is_debug)
        return false;
    // A task of another make that starts eagerly does so within the step of one of ours.
    return !kHas312 || read_current_task(running).get() == object(running->stepping);
}

PySendResult park(Coroutine* self, PyObject** result) noexcept {
    self->phase = CoroutinePhase::kParked;
    *result = Py_NewRef(object(self));
    return PYGEN_NEXT;
}

PySendResult give_way(Coroutine* self, PyObject** result) noexcept {
    self->phase = CoroutinePhase::kYielded;
    *result = Py_NewRef(Py_None);
    return PYGEN_NEXT;
}

PySendResult delegate_to(Coroutine* self, PyObject* iterator, PyObject** result) noexcept {
    Py_XSETREF(self->inner, iterator);
    return delegate(self, Py_None, result);
}

PySendResult delegate_to_awaitable(Coroutine* self, PyObject* awaitable,
                                   PyObject** result) noexcept {
    PyAsyncMethods* methods = Py_TYPE(awaitable)->tp_as_async;
    PyObject* iterator = methods != nullptr && methods->am_await != nullptr
                             ? methods->am_await(awaitable)
                             : PyObject_GetIter(awaitable);
    return iterator != nullptr ? delegate_to(self, iterator, result) : fail(result);
}

PySendResult end_with_exception(PyObject* exception, PyObject** result) noexcept {
    raise_exception(exception);
    return fail(result);
}

bool wake(Coroutine* self) noexcept {
    if (self->phase != CoroutinePhase::kParked) return false;
    self->phase = CoroutinePhase::kWoken;
    Task* task = std::exchange(self->task, nullptr);
    if (task == nullptr) return true;  // on its way to wait: see wait_for_coroutine()
    Loop* loop = native_loop(task);
    if (loop == nullptr) {
        Py_DECREF(object(task));
        return true;
    }
    task->record.waker = current_task_id(loop);
    push_task(loop, task);
    return true;
}

void wait_for_coroutine(Loop* loop, PyObject* object_, Task* task) noexcept {
    Coroutine* self = as_coroutine(object_);
    if (self->phase != CoroutinePhase::kParked || self->task != nullptr) {
        // Woken on the way, yielded by hand, or shared by two tasks.
        return push_task(loop, task);
    }
    self->task = task;
    if (!task->must_cancel) [[likely]]
        return;
    task->must_cancel = 0;
    PyObject* args[] = {task->cancel_msg != nullptr ? task->cancel_msg : Py_None};
    Py_XDECREF(cancel(object_, args, 1, nullptr));
}

PyObject* coroutine_exception(PyObject* object_) noexcept {
    Coroutine* self = as_coroutine(object_);
    if (self->phase != CoroutinePhase::kCancelled) return nullptr;
    State* state = self->state;
    bool has_message = self->brought != nullptr && self->brought != Py_None;
    PyObject* exception = has_message ? PyObject_CallOneArg(state->cancelled_error, self->brought)
                                      : PyObject_CallNoArgs(state->cancelled_error);
    return exception != nullptr ? exception : take_exception();
}

bool add_coroutine_type(PyObject* module, const char* name, std::size_t size,
                        PyTypeObject*& slot) noexcept {
    PyType_Spec spec = {name, static_cast<int>(size), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                            Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                        slots};
    return add_type(module, spec, nullptr, slot) && register_abstract(slot);
}

}  // namespace penstock::py
