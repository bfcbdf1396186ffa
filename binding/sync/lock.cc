// asyncio.Lock: `value` says whether it is locked.
#include "sync/primitive.h"
#include "sync/wait.h"

namespace penstock::py {
namespace {

template <bool kGivesTrue>
PySendResult acquired(Waiters* waiters, PyObject** result) noexcept {
    waiters->value = 1;
    return end_with(Py_NewRef(kGivesTrue ? Py_True : Py_None), result);
}

// First come, first served: jumping the queue where all in it were cancelled is an optimisation.
template <bool kGivesTrue>
PySendResult begin_acquire(Coroutine* self, PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    if (!wait->waiters->value && are_all_cancelled(wait->waiters->queue))
        return acquired<kGivesTrue>(wait->waiters, result);
    return wait_in(wait->waiters->queue, wait, result);
}

void wake_first(Waiters* waiters) noexcept {
    if (is_empty(waiters->queue)) return;
    Wait* first = wait_of(waiters->queue.next);
    if (is_pending(first)) wake_wait(first);
}

template <bool kGivesTrue>
PySendResult resume_acquire(Coroutine* self, PyObject* value, PyObject* thrown,
                            PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    leave_queue(wait);
    if (thrown == nullptr) [[likely]] {
        Py_DECREF(value);
        return acquired<kGivesTrue>(wait->waiters, result);
    }
    if (PyErr_GivenExceptionMatches(thrown, self->state->cancelled_error) && !wait->waiters->value)
        wake_first(wait->waiters);
    return end_with_exception(thrown, result);
}

bool release(Waiters* waiters) noexcept {
    if (!waiters->value) {
        PyErr_SetString(PyExc_RuntimeError, "Lock is not acquired.");
        return false;
    }
    waiters->value = 0;
    wake_first(waiters);
    return true;
}

constexpr CoroutineKind kAcquire =
    wait_kind("acquire", "Lock.acquire", begin_acquire<true>, resume_acquire<true>);
constexpr CoroutineKind kEnter = wait_kind("__aenter__", "_ContextManagerMixin.__aenter__",
                                           begin_acquire<false>, resume_acquire<false>);
constexpr CoroutineKind kExit =
    wait_kind("__aexit__", "_ContextManagerMixin.__aexit__", begin_exit<release>, nullptr);

PyObject* locked(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    return waiters != nullptr ? PyBool_FromLong(waiters->value != 0) : nullptr;
}

PyObject* get_locked(PyObject* self, void*) { return locked(self, nullptr); }

constexpr CoroutineMethod coroutines[] = {{"acquire", make_wait<kAcquire>},
                                          {"__aenter__", make_wait<kEnter>, 1, true},
                                          {"__aexit__", make_wait<kExit>, 4, true},
                                          {nullptr, nullptr}};

PyMethodDef methods[] = {
    {"release", release_method<release>, METH_NOARGS,
     "release($self)\n--\n\nRelease a lock: if others wait for it, one of them goes on.\n\n"
     "Raises RuntimeError where it is not locked."},
    {"locked", locked, METH_NOARGS, "locked($self)\n--\n\nReturn True if lock is acquired."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_locked", get_locked, set_number<&Waiters::value>, nullptr, nullptr},
                            {"_waiters", get_waiters, nullptr, nullptr, nullptr},
                            {"_loop", get_bound_loop, set_bound_loop, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods lock_methods = {"Lock", coroutines, methods, attributes, &State::waiters};

}  // namespace penstock::py
