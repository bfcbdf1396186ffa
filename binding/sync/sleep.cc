#include "sync/sleep.h"

#include <cmath>

#include "loop/handle.h"
#include "py/types.h"
#include "sync/coroutine.h"

namespace penstock::py {

// A delay of 0 gives way once. Else a native task waits, and the timer heap holds a reference; for
// anything else the stock coroutine does it.
struct Sleep : Coroutine {
    PyObject* delay;
    PyObject* result;
};

namespace {

Sleep* as_sleep(Coroutine* self) noexcept { return static_cast<Sleep*>(self); }

PySendResult delegate_to_stock(Sleep* sleep, PyObject** result) noexcept {
    PyObject* stock =
        PyObject_CallFunctionObjArgs(sleep->state->stock_sleep, sleep->delay,
                                     sleep->result != nullptr ? sleep->result : Py_None, nullptr);
    return stock != nullptr ? delegate_to(sleep, stock, result) : fail(result);
}

PySendResult begin(Coroutine* self, PyObject** result) noexcept {
    Sleep* sleep = as_sleep(self);
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
    if (is_plain_number && delay <= 0) return give_way(sleep, result);
    if (std::isnan(delay)) {
        PyErr_SetString(PyExc_ValueError, "Invalid delay: NaN (not a number)");
        return fail(result);
    }
    // A loop with a call_later() or a clock of its own shall see the timer.
    Loop* loop = running_loop(sleep->state);
    if (!is_plain_number || !may_park(loop) || loop->has_own_timers)
        return delegate_to_stock(sleep, result);
    constexpr double kForever = 4.6e9;  // 146 years: half the range, the other half for the clock
    bool pushed = loop->reactor->timers().push(
        now() + Duration(static_cast<Duration::rep>(std::min(delay, kForever) * 1e9)),
        make_word(WordKind::kSleep, Py_NewRef(object(sleep))));
    if (!pushed) {
        Py_DECREF(object(sleep));
        PyErr_NoMemory();
        return fail(result);
    }
    return park(sleep, result);
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    if (thrown != nullptr) return end_with_exception(thrown, result);
    PyObject* given = std::exchange(as_sleep(self)->result, nullptr);
    return given != nullptr ? (Py_DECREF(value), end_with(given, result)) : end_with(value, result);
}

// The entry in the timer heap is void.
void withdraw(Coroutine*, Loop* loop) noexcept { count_cancelled_timer(loop); }

int visit_all(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_sleep(self)->delay);
    Py_VISIT(as_sleep(self)->result);
    return 0;
}

void clear_all(Coroutine* self) noexcept {
    Py_CLEAR(as_sleep(self)->delay);
    Py_CLEAR(as_sleep(self)->result);
}

constexpr CoroutineKind kSleep = {.name = "sleep",
                                  .qualified_name = "sleep",
                                  .wait_kind = WaitKind::kSleep,
                                  .begin = begin,
                                  .resume = resume,
                                  .visit = visit_all,
                                  .clear = clear_all,
                                  .withdraw = withdraw,
                                  .free = &State::free_sleeps};

}  // namespace

bool is_sleep_over(const Sleep* sleep) noexcept { return is_wait_over(sleep); }

void finish_sleep(Loop* loop, Sleep* sleep) noexcept {
    if (!wake(sleep)) loop->reactor->timers().forget_cancelled();
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
    auto* sleep = static_cast<Sleep*>(new_coroutine(state, state->sleep, &kSleep));
    if (sleep == nullptr) return nullptr;
    sleep->delay = Py_NewRef(delay);
    sleep->result = result != nullptr && result != Py_None ? Py_NewRef(result) : nullptr;
    PyObject_GC_Track(object(sleep));
    return object(sleep);
}

bool add_sleep_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.Sleep", sizeof(Sleep), state->sleep);
}

}  // namespace penstock::py
