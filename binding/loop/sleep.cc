#include "loop/sleep.h"

#include <cmath>

#include "futures/future_iter.h"
#include "futures/task.h"
#include "loop/handle.h"
#include "py/stop_iteration.h"
#include "py/trashcan.h"
#include "py/types.h"

namespace penstock::py {

// Life: kNew until the first send; then kYielded (a delay of 0 gives way once), kWaiting (a
// native task waits; the timer heap and the task's `waiter` hold a reference each) or kDelegated
// (driven by anything else: the stock coroutine does it); at last kOver or kCancelled.
enum class SleepPhase : std::uint8_t { kNew, kYielded, kWaiting, kDelegated, kOver, kCancelled };

struct Sleep {
    PyObject_HEAD State* state;
    PyObject* delay;
    PyObject* result;
    PyObject* stock;  // the coroutine that it delegates to
    PyObject* cancel_message;
    Task* task;  // strong: waits for us
    PyObject* weakrefs;
    SleepPhase phase;
};

namespace {

Sleep* as_sleep(PyObject* self) noexcept { return reinterpret_cast<Sleep*>(self); }

// An await that fails has been an await: nothing to warn about later.
PySendResult fail(Sleep* sleep, PyObject** result) noexcept {
    if (sleep->phase == SleepPhase::kNew) sleep->phase = SleepPhase::kOver;
    *result = nullptr;
    return PYGEN_ERROR;
}

PySendResult finish(Sleep* sleep, PyObject** result) noexcept {
    sleep->phase = SleepPhase::kOver;
    *result = sleep->result != nullptr ? std::exchange(sleep->result, nullptr) : Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

PySendResult delegate(Sleep* sleep, PyObject* value, PyObject** result) noexcept {
    // Sending may drop the last other reference to us.
    Ref<> stock = Ref<>::borrow(sleep->stock);
    Ref<> self = Ref<>::borrow(object(sleep));
    PySendResult sent = PyIter_Send(stock.get(), value, result);
    if (sent != PYGEN_NEXT) sleep->phase = SleepPhase::kOver;
    return sent;
}

PySendResult start_delegating(Sleep* sleep, PyObject** result) noexcept {
    sleep->stock =
        PyObject_CallFunctionObjArgs(sleep->state->stock_sleep, sleep->delay,
                                     sleep->result != nullptr ? sleep->result : Py_None, nullptr);
    if (sleep->stock == nullptr) return fail(sleep, result);
    sleep->phase = SleepPhase::kDelegated;
    return delegate(sleep, Py_None, result);
}

PySendResult start(Sleep* sleep, PyObject** result) noexcept {
    double delay = 0;
    int overflow = 0;
    bool is_plain_number = true;
    if (PyFloat_CheckExact(sleep->delay))
        delay = PyFloat_AS_DOUBLE(sleep->delay);
    else if (PyLong_CheckExact(sleep->delay))
        delay = static_cast<double>(PyLong_AsLongAndOverflow(sleep->delay, &overflow));
    else
        is_plain_number = false;
    if (overflow != 0) is_plain_number = false;
    if (is_plain_number && delay <= 0) {
        sleep->phase = SleepPhase::kYielded;
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    if (std::isnan(delay)) {
        PyErr_SetString(PyExc_ValueError, "Invalid delay: NaN (not a number)");
        return fail(sleep, result);
    }
    Loop* loop = running_loop(sleep->state);
    // Only the step of a native task knows what to do with us; and a loop in debug mode, or one
    // with a call_later() or a clock of its own, shall see the timer.
    if (!is_plain_number || loop == nullptr || loop->stepping == nullptr || !loop->is_plain ||
        loop->has_own_clock || loop->is_debug)
        return start_delegating(sleep, result);
    constexpr double kForever = 4.6e9;  // 146 years: half the range, the other half for the clock
    bool pushed = loop->reactor->timers().push(
        now() + Duration(static_cast<Duration::rep>(std::min(delay, kForever) * 1e9)),
        make_word(WordKind::kSleep, Py_NewRef(object(sleep))));
    if (!pushed) {
        Py_DECREF(object(sleep));
        PyErr_NoMemory();
        return fail(sleep, result);
    }
    sleep->phase = SleepPhase::kWaiting;
    *result = Py_NewRef(object(sleep));
    return PYGEN_NEXT;
}

PySendResult am_send(PyObject* self, PyObject* value, PyObject** result) {
    Sleep* sleep = as_sleep(self);
    switch (sleep->phase) {
        case SleepPhase::kNew:
            if (value != Py_None) {
                PyErr_SetString(PyExc_TypeError,
                                "can't send non-None value to a just-started coroutine");
                return fail(sleep, result);
            }
            return start(sleep, result);
        case SleepPhase::kYielded: return finish(sleep, result);
        case SleepPhase::kDelegated: return delegate(sleep, value, result);
        case SleepPhase::kWaiting:
            if (sleep->task == nullptr) return finish(sleep, result);
            PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
            return fail(sleep, result);
        default:
            PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
            return fail(sleep, result);
    }
}

PyObject* next(PyObject* self) {
    PyObject* result = nullptr;
    switch (am_send(self, Py_None, &result)) {
        case PYGEN_NEXT: return result;
        case PYGEN_RETURN: return return_from_iter(as_sleep(self)->state, result);
        default: return nullptr;
    }
}

PyObject* send(PyObject* self, PyObject* value) {
    PyObject* result = nullptr;
    PySendResult sent = am_send(self, value, &result);
    if (sent == PYGEN_NEXT) return result;
    return sent == PYGEN_RETURN ? stop_with(result) : nullptr;
}

// The wait ends early: the entry in the timer heap is void.
void withdraw(Sleep* sleep, SleepPhase phase) noexcept {
    bool was_waiting = sleep->phase == SleepPhase::kWaiting && sleep->task != nullptr;
    sleep->phase = phase;
    Task* task = std::exchange(sleep->task, nullptr);
    if (!was_waiting) return;
    Loop* loop = native_loop(task);
    if (loop != nullptr) count_cancelled_timer(loop);
    Py_DECREF(object(task));
}

PyObject* throw_into(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase == SleepPhase::kDelegated) {
        Ref<> stock = Ref<>::borrow(sleep->stock);
        Ref<> bound = Ref<>::steal(PyObject_GetAttr(stock.get(), sleep->state->str_throw_));
        PyObject* given =
            bound ? PyObject_Vectorcall(bound.get(), args, static_cast<std::size_t>(count), nullptr)
                  : nullptr;
        if (given == nullptr) sleep->phase = SleepPhase::kOver;
        return given;
    }
    withdraw(sleep, SleepPhase::kOver);
    return raise_thrown(args, count);
}

PyObject* close(PyObject* self, PyObject*) {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase == SleepPhase::kDelegated) {
        sleep->phase = SleepPhase::kOver;
        Ref<> stock = Ref<>::borrow(sleep->stock);
        return PyObject_CallMethod(stock.get(), "close", nullptr);
    }
    withdraw(sleep, SleepPhase::kOver);
    Py_RETURN_NONE;
}

// Task.cancel() calls it on what the task waits for.
PyObject* cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase != SleepPhase::kWaiting || sleep->task == nullptr) Py_RETURN_FALSE;
    PyObject* message = count + keyword_count(names) > 0 ? args[0] : Py_None;
    Py_XSETREF(sleep->cancel_message, Py_NewRef(message));
    Task* task = as_task(Py_NewRef(object(sleep->task)));
    Loop* loop = native_loop(task);
    withdraw(sleep, SleepPhase::kCancelled);
    if (loop != nullptr) {
        task->record.waker = current_task_id(loop);
        push_task(loop, task);
    } else {
        Py_DECREF(object(task));
    }
    Py_RETURN_TRUE;
}

PyObject* done(PyObject* self, PyObject*) { return PyBool_FromLong(is_sleep_over(as_sleep(self))); }

PyObject* get_name(PyObject*, void*) { return PyUnicode_InternFromString("sleep"); }
PyObject* get_none(PyObject*, void*) { Py_RETURN_NONE; }
PyObject* get_running(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_suspended(PyObject* self, void*) {
    SleepPhase phase = as_sleep(self)->phase;
    return PyBool_FromLong(phase != SleepPhase::kNew && phase != SleepPhase::kOver);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return visit_sleep(as_sleep(self), visit, arg);
}

int clear(PyObject* self) {
    Sleep* sleep = as_sleep(self);
    Py_CLEAR(sleep->delay);
    Py_CLEAR(sleep->result);
    Py_CLEAR(sleep->stock);
    Py_CLEAR(sleep->cancel_message);
    Py_CLEAR(sleep->task);
    return 0;
}

void finalize(PyObject* self) {
    if (as_sleep(self)->phase != SleepPhase::kNew) return;
    PyObject* pending = take_exception();
    if (PyErr_WarnEx(PyExc_RuntimeWarning, "coroutine 'sleep' was never awaited", 1) < 0)
        PyErr_WriteUnraisable(self);
    if (pending != nullptr) raise_exception(pending);
}

void dealloc(PyObject* self) {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase == SleepPhase::kNew && PyObject_CallFinalizerFromDealloc(self) < 0) return;
    PyObject_GC_UnTrack(self);
    State* state = sleep->state;
    auto clear_all = [self, sleep] {
        if (sleep->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
        clear(self);
    };
    if (!clear_in_trashcan(state, self, dealloc, clear_all)) return;
    if (!PyObject_GC_IsFinalized(self) && state->free_sleeps.push(self)) return;
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {
    {"send", send, METH_O, nullptr},        {"throw", method(throw_into), METH_FASTCALL, nullptr},
    {"close", close, METH_NOARGS, nullptr}, {"cancel", method(cancel), kFast, nullptr},
    {"done", done, METH_NOARGS, nullptr},   {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"__name__", get_name, nullptr, nullptr, nullptr},
                            {"__qualname__", get_name, nullptr, nullptr, nullptr},
                            {"cr_await", get_none, nullptr, nullptr, nullptr},
                            {"cr_frame", get_none, nullptr, nullptr, nullptr},
                            {"cr_origin", get_none, nullptr, nullptr, nullptr},
                            {"cr_running", get_running, nullptr, nullptr, nullptr},
                            {"cr_suspended", get_suspended, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Sleep, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc,
     const_cast<char*>("What asyncio.sleep() returns: a coroutine in all but its type.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_am_await, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_am_send, reinterpret_cast<void*>(am_send)},
    {Py_tp_iternext, reinterpret_cast<void*>(next)},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_members, members},
    {0, nullptr}};

PyType_Spec spec = {"penstock._core.Sleep", sizeof(Sleep), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

bool is_sleep_over(const Sleep* sleep) noexcept {
    return sleep->phase == SleepPhase::kOver || sleep->phase == SleepPhase::kCancelled;
}

int visit_sleep(Sleep* sleep, visitproc visit, void* arg) noexcept {
    Py_VISIT(sleep->delay);
    Py_VISIT(sleep->result);
    Py_VISIT(sleep->stock);
    Py_VISIT(sleep->cancel_message);
    Py_VISIT(object(sleep->task));
    return 0;
}

void wait_for_sleep(Loop* loop, PyObject* self, Task* task) noexcept {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase != SleepPhase::kWaiting || sleep->task != nullptr) {
        // Yielded by hand, or shared by two tasks: nothing will wake this one but itself.
        return push_task(loop, task);
    }
    sleep->task = task;
    if (!task->must_cancel) [[likely]]
        return;
    task->must_cancel = 0;
    PyObject* args[] = {task->cancel_msg != nullptr ? task->cancel_msg : Py_None};
    Py_XDECREF(cancel(self, args, 1, nullptr));
}

PyObject* sleep_exception(PyObject* self) noexcept {
    Sleep* sleep = as_sleep(self);
    if (sleep->phase != SleepPhase::kCancelled) return nullptr;
    State* state = sleep->state;
    bool has_message = sleep->cancel_message != nullptr && sleep->cancel_message != Py_None;
    PyObject* exception = has_message
                              ? PyObject_CallOneArg(state->cancelled_error, sleep->cancel_message)
                              : PyObject_CallNoArgs(state->cancelled_error);
    return exception != nullptr ? exception : take_exception();
}

void finish_sleep(Loop* loop, Sleep* sleep) noexcept {
    Task* task =
        sleep->phase == SleepPhase::kWaiting ? std::exchange(sleep->task, nullptr) : nullptr;
    if (task != nullptr) {
        task->record.waker = 0;
        push_task(loop, task);
    } else if (sleep->phase != SleepPhase::kWaiting) {
        loop->reactor->timers().forget_cancelled();
    }
    Py_DECREF(object(sleep));
}

PyObject* sleep_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                         PyObject* names) {
    State* state = state_of(module);
    PyObject* delay = count > 0 ? args[0] : nullptr;
    PyObject* result = count > 1 ? args[1] : nullptr;
    Keywords keywords(args, count, names);
    bool is_odd = count > 2;
    for (Py_ssize_t i = 0; i < keywords.count(); ++i) {
        if (keywords.is(i, state->str_delay) && delay == nullptr)
            delay = keywords.value(i);
        else if (keywords.is(i, state->str_result) && result == nullptr)
            result = keywords.value(i);
        else
            is_odd = true;
    }
    if (is_odd || delay == nullptr)  // the stock function words the TypeError
        return PyObject_Vectorcall(state->stock_sleep, args, static_cast<std::size_t>(count),
                                   names);
    PyObject* made = state->free_sleeps.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, state->sleep);
        if (made == nullptr) return nullptr;
        as_sleep(made)->state = state;
        as_sleep(made)->weakrefs = nullptr;
    }
    Sleep* sleep = as_sleep(made);
    sleep->delay = Py_NewRef(delay);
    sleep->result = result != nullptr && result != Py_None ? Py_NewRef(result) : nullptr;
    sleep->stock = nullptr;
    sleep->cancel_message = nullptr;
    sleep->task = nullptr;
    sleep->weakrefs = nullptr;
    sleep->phase = SleepPhase::kNew;
    PyObject_GC_Track(made);
    return made;
}

bool add_sleep_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->sleep);
}

}  // namespace penstock::py
