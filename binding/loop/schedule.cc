// call_soon() and its like.
#include <algorithm>
#include <cstddef>

#include "futures/future.h"
#include "loop/clock.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "py/arguments.h"
#include "py/types.h"
#include "streams/handler_callback.h"
#include "sync/done_callback.h"

namespace penstock::py {
namespace {

struct Call {
    PyObject* when;  // of call_later() and call_at()
    PyObject* callback;
    PyObject* const* args;
    Py_ssize_t count;
    PyObject* context;  // borrowed; nullptr for none
};

// (callback, *args, context=None), with a time in front where that has a name: whatever else than
// callback and arguments by position, and the context by name.
bool bind_call(const char* function, const char* time, PyObject* const* args, Py_ssize_t count,
               PyObject* names, Call& call) noexcept {
    const char* const known[] = {time, "callback", "context"};
    PyObject* values[] = {nullptr, nullptr, nullptr};
    Py_ssize_t required = time != nullptr ? 2 : 1;
    auto skipped = static_cast<std::size_t>(2 - required);
    if (!bind({function, std::span(known).subspan(skipped), required, required, true}, args, count,
              names, std::span(values).subspan(skipped)))
        return false;
    Py_ssize_t rest = std::max<Py_ssize_t>(count - required, 0);
    call = {values[0], values[1], args + count - rest, rest, values[2]};
    return true;
}

bool read_call(Loop* loop, const char* function, const char* time, PyObject* const* args,
               Py_ssize_t count, PyObject* names, Call& call) noexcept {
    Py_ssize_t leading = time != nullptr ? 1 : 0;
    if (count > leading && names == nullptr) [[likely]] {
        call = {args[0], args[leading], args + leading + 1, count - leading - 1, nullptr};
    } else if (count > leading && keyword_count(names) == 1 &&
               PyTuple_GET_ITEM(names, 0) == loop->state->str_context) {
        call = {args[0], args[leading], args + leading + 1, count - leading - 1, args[count]};
    } else if (!bind_call(function, time, args, count, names, call)) {
        return false;
    }
    if (call.context != nullptr && call.context != Py_None && !is_context(call.context))
        [[unlikely]] {
        PyErr_Format(PyExc_TypeError, "%s(): context must be a contextvars.Context, not %.200s",
                     function, Py_TYPE(call.context)->tp_name);
        return false;
    }
    return true;
}

// The same with a time in front.
bool read_timed_call(Loop* loop, const char* function, const char* time, const char* no_none,
                     PyObject* const* args, Py_ssize_t count, PyObject* names, Call& call,
                     double& when) noexcept {
    if (!read_call(loop, function, time, args, count, names, call)) return false;
    if (call.when == Py_None) {
        PyErr_SetString(PyExc_TypeError, no_none);
        return false;
    }
    if (!check_open(loop)) return false;
    when = PyFloat_AsDouble(call.when);
    return when != -1.0 || !PyErr_Occurred();
}

// asyncio's checks of debug mode.
bool check_callback(Loop* loop, const char* function, PyObject* callback) noexcept {
    Ref<> result = Ref<>::steal(PyObject_CallOneArg(loop->state->iscoroutine, callback));
    if (!result) return false;
    int is_coroutine = PyObject_IsTrue(result.get());
    if (is_coroutine == 0) {
        result = Ref<>::steal(PyObject_CallOneArg(loop->state->iscoroutinefunction, callback));
        if (!result) return false;
        is_coroutine = PyObject_IsTrue(result.get());
    }
    if (is_coroutine < 0) return false;
    if (is_coroutine) {
        PyErr_Format(PyExc_TypeError, "coroutines cannot be used with %s()", function);
        return false;
    }
    if (!PyCallable_Check(callback)) {
        PyErr_Format(PyExc_TypeError, "a callable object was expected by %s(), got %R", function,
                     callback);
        return false;
    }
    return true;
}

// Python code that read the arguments, or another thread, has closed the loop.
std::nullptr_t closed_meanwhile(Loop* loop, Handle* handle) noexcept {
    Py_DECREF(object(handle));
    check_open(loop);
    return nullptr;
}

// The loop has no memory for one more: it has not taken over the reference that it was to have.
std::nullptr_t no_memory_for(Handle* handle) noexcept {
    Py_DECREF(object(handle));
    Py_DECREF(object(handle));
    PyErr_NoMemory();
    return nullptr;
}

Handle* push_call(Loop* loop, const Call& call) noexcept {
    Handle* handle = new_handle(loop, call.callback, call.args, call.count, call.context);
    if (handle == nullptr) return nullptr;
    if (loop->reactor == nullptr) [[unlikely]]
        return closed_meanwhile(loop, handle);
    if (!loop->is_running) track(handle);
    bool pushed = loop->reactor->try_push(make_word(WordKind::kHandle, Py_NewRef(object(handle))));
    return pushed ? handle : no_memory_for(handle);
}

PyObject* start_timer(Loop* loop, double when, const Call& call) noexcept {
    Handle* handle =
        new_timer_handle(loop, when, call.callback, call.args, call.count, call.context);
    if (handle == nullptr) return nullptr;
    if (loop->reactor == nullptr) [[unlikely]]
        return closed_meanwhile(loop, handle);
    if (!loop->is_running) track(handle);
    handle->is_queued = loop->reactor->timers().push(
        time_point(when), make_word(WordKind::kHandle, Py_NewRef(object(handle))));
    return handle->is_queued ? object(handle) : no_memory_for(handle);
}

// A stop of a foreign task's wake-up: base code calls loop.call_soon(task, future, context=…)
// with the waiting native task itself as the callback.
bool is_wake(Loop* loop, const Call& call) noexcept {
    return call.count == 1 && is_native_task(loop->state, call.callback) &&
           as_task(call.callback)->waiter == call.args[0] &&
           native_loop(as_task(call.callback)) == loop;
}

// What read_call() has refused may be the base's, which completes a handler's task as
// asyncio.Future.set_result(task, …) does: call_soon(protocol, task, context=…). Here, since
// looking for it in call_soon() is 40 instructions a call.
[[gnu::noinline]] PyObject* push_put_off(Loop* loop, PyObject* const* args, Py_ssize_t count,
                                         PyObject* names) noexcept {
    bool is_base = count == 2 && keyword_count(names) == 1 &&
                   is_put_off(loop->state, args[0], args[2]) &&
                   PyErr_ExceptionMatches(PyExc_TypeError);
    if (!is_base) return nullptr;
    PyErr_Clear();
    if (!check_open(loop) || !check_thread(loop)) return nullptr;
    Ref<> made = Ref<>::steal(make_handler_callback(loop->state, args[0]));
    if (!made) return nullptr;
    return object(push_call(loop, {nullptr, made.get(), args + 1, 1, args[2]}));
}

}  // namespace

bool check_thread_in_debug(Loop* loop) noexcept {
    if (!loop->is_running || loop->thread == PyThreadState_Get()) return true;
    PyErr_SetString(
        PyExc_RuntimeError,
        "Non-thread-safe operation invoked on an event loop other than the current one");
    return false;
}

PyObject* loop_call_soon(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Loop* loop = as_loop(self);
    Call call;
    if (!read_call(loop, "call_soon", nullptr, args, count, names, call)) [[unlikely]]
        return push_put_off(loop, args, count, names);
    if (!check_open(loop) || !check_thread(loop)) return nullptr;
    if (is_wake(loop, call)) [[unlikely]] {
        as_task(call.callback)->record.waker = current_task_id(loop);
        push_task(loop, as_task(Py_NewRef(call.callback)));
        Py_RETURN_NONE;
    }
    // And a child that is done the same way.
    if (call.count == 1 && Py_TYPE(call.callback) == loop->state->done_callback &&
        PyObject_TypeCheck(call.args[0], loop->state->base_future) &&
        push_done_child(loop, as_done_callback(call.callback), call.args[0])) [[unlikely]]
        Py_RETURN_NONE;
    if (loop->is_debug && !check_callback(loop, "call_soon", call.callback)) [[unlikely]]
        return nullptr;
    return object(push_call(loop, call));
}

PyObject* loop_call_soon_threadsafe(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                    PyObject* names) {
    Loop* loop = as_loop(self);
    Call call;
    if (!read_call(loop, "call_soon_threadsafe", nullptr, args, count, names, call) ||
        !check_open(loop))
        return nullptr;
    if (loop->is_debug && !check_callback(loop, "call_soon_threadsafe", call.callback))
        return nullptr;
    // The context is that of this thread, not of the loop's.
    Ref<> context;
    if (call.context == nullptr || call.context == Py_None) {
        context = Ref<>::steal(PyContext_CopyCurrent());
        if (!context) return nullptr;
        call.context = context.get();
    }
    // The GIL keeps the ready queue whole: the loop touches it only while it holds it.
    Handle* handle = push_call(loop, call);
    if (handle != nullptr) loop->reactor->wake();
    return object(handle);
}

PyObject* loop_call_later(PyObject* self, PyObject* const* args, Py_ssize_t count,
                          PyObject* names) {
    Loop* loop = as_loop(self);
    Call call;
    double delay;
    if (!read_timed_call(loop, "call_later", "delay", "delay must not be None", args, count, names,
                         call, delay))
        return nullptr;
    // asyncio's call_later() leaves the check to call_at(), which names itself.
    if (loop->is_debug) [[unlikely]]
        if (!check_thread(loop) || !check_callback(loop, "call_at", call.callback)) return nullptr;
    double start;
    if (!read_clock(loop, start)) return nullptr;
    return start_timer(loop, start + delay, call);
}

PyObject* loop_call_at(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Loop* loop = as_loop(self);
    Call call;
    double when;
    if (!read_timed_call(loop, "call_at", "when", "when cannot be None", args, count, names, call,
                         when))
        return nullptr;
    if (loop->is_debug) [[unlikely]]
        if (!check_thread(loop) || !check_callback(loop, "call_at", call.callback)) return nullptr;
    return start_timer(loop, when, call);
}

}  // namespace penstock::py
