// asyncio.Lock: `value` says whether it is locked.
#include "py/ref.h"
#include "sync/primitive.h"
#include "sync/wait.h"

namespace penstock::py {
namespace {

enum class Gives { kTrue, kNone };  // what acquire() returns, and what `async with` binds

template <Gives kGives>
PySendResult acquired(Waiters* waiters, PyObject** result) noexcept {
    waiters->value = 1;
    return end_with(Py_NewRef(kGives == Gives::kTrue ? Py_True : Py_None), result);
}

// First come, first served: jumping the queue where all in it were cancelled is an optimisation.
template <Gives kGives>
PySendResult begin_acquire(Coroutine* self, PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    if (!wait->waiters->value && are_all_cancelled(wait->waiters->queue))
        return acquired<kGives>(wait->waiters, result);
    return wait_in(wait->waiters->queue, wait, result);
}

void wake_first(Waiters* waiters) noexcept {
    if (is_empty(waiters->queue)) return;
    Wait* first = wait_of(waiters->queue.next);
    if (is_pending(first)) wake_wait(first);
}

template <Gives kGives>
PySendResult resume_acquire(Coroutine* self, PyObject* value, PyObject* thrown,
                            PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    leave_queue(wait);
    if (thrown == nullptr) [[likely]] {
        Py_DECREF(value);
        return acquired<kGives>(wait->waiters, result);
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

PySendResult begin_exit(Coroutine* self, PyObject** result) noexcept {
    return release(as_wait(self)->waiters) ? end_with_none(result) : fail(result);
}

constexpr CoroutineKind kAcquire =
    wait_kind("acquire", "Lock.acquire", begin_acquire<Gives::kTrue>, resume_acquire<Gives::kTrue>);
constexpr CoroutineKind kEnter =
    wait_kind("__aenter__", "_ContextManagerMixin.__aenter__", begin_acquire<Gives::kNone>,
              resume_acquire<Gives::kNone>);
constexpr CoroutineKind kExit =
    wait_kind("__aexit__", "_ContextManagerMixin.__aexit__", begin_exit, nullptr);

PyObject* release_method(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    if (waiters == nullptr || !release(waiters)) return nullptr;
    Py_RETURN_NONE;
}

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
    {"release", release_method, METH_NOARGS,
     "release($self)\n--\n\nRelease a lock: if others wait for it, one of them goes on.\n\n"
     "Raises RuntimeError where it is not locked."},
    {"locked", locked, METH_NOARGS, "locked($self)\n--\n\nReturn True if lock is acquired."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_locked", get_locked, set_number<&Waiters::value>, nullptr, nullptr},
                            {"_waiters", get_waiters, nullptr, nullptr, nullptr},
                            {"_loop", get_bound_loop, set_bound_loop, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods lock_methods = {"Lock", coroutines, methods, attributes};

}  // namespace penstock::py
