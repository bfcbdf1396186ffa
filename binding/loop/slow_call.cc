#include "loop/slow_call.h"

#include "py/ref.h"

namespace penstock::py {
namespace {

double seconds_since(TimePoint start) noexcept {
    return std::chrono::duration<double>(now() - start).count();
}

// Takes over `text`, which may be nullptr with an exception set.
void log_slow_call(Loop* loop, PyObject* text, double seconds) noexcept {
    Ref<> shown = Ref<>::steal(text);
    Ref<> duration = Ref<>::steal(shown ? PyFloat_FromDouble(seconds) : nullptr);
    // By the name under which asyncio's own loop looks it up: tests replace it there.
    Ref<> home = Ref<>::steal(duration ? PyImport_ImportModule("asyncio.base_events") : nullptr);
    Ref<> logger = Ref<>::steal(home ? PyObject_GetAttrString(home.get(), "logger") : nullptr);
    Ref<> done = Ref<>::steal(logger ? PyObject_CallMethod(logger.get(), "warning", "sOO",
                                                           "Executing %s took %.3f seconds",
                                                           shown.get(), duration.get())
                                     : nullptr);
    if (!done && !take_failure(loop)) PyErr_WriteUnraisable(object(loop));
}

}  // namespace

void report_slow_call(Loop* loop, PyObject* what, double seconds) noexcept {
    PyObject* pending = take_exception();
    PyObject* text = nullptr;
    const State* state = loop->state;
    if (Py_TYPE(what) == state->handle || Py_TYPE(what) == state->timer_handle) {
        // It shows a task whose step this is, instead of the handle.
        Ref<> base_events = Ref<>::steal(PyImport_ImportModule("asyncio.base_events"));
        if (base_events) text = PyObject_CallMethod(base_events.get(), "_format_handle", "O", what);
    } else {
        text = PyObject_Repr(what);
    }
    log_slow_call(loop, text, seconds);
    if (pending != nullptr) raise_exception(pending);
}

void TimedCall::begin(Loop* loop, PyObject* owner, const char* method,
                      PyObject* receiver) noexcept {
    loop_ = as_loop(Py_NewRef(object(loop)));
    owner_ = Py_NewRef(owner);
    receiver_ = Py_NewRef(receiver);
    method_ = method;
    started_ = now();
}

void TimedCall::end() noexcept {
    double seconds = seconds_since(started_);
    PyObject* pending = take_exception();
    if (seconds >= loop_->slow_callback_duration) {
        Ref<> name = Ref<>::steal(PyObject_GetAttrString(object(Py_TYPE(owner_)), "__name__"));
        PyObject* text =
            name ? PyUnicode_FromFormat("<Handle %U.%s() for %R>", name.get(), method_, receiver_)
                 : nullptr;
        log_slow_call(loop_, text, seconds);
    }
    Py_DECREF(receiver_);
    Py_DECREF(owner_);
    Py_DECREF(object(loop_));
    if (pending != nullptr) raise_exception(pending);
}

}  // namespace penstock::py
