// asyncio.Semaphore: `value` is how often it may be acquired at once. What happens where an
// acquire() is cancelled is as CPython 3.13 has mended it, on all versions.
#include "sync/primitive.h"
#include "sync/wait.h"

namespace penstock::py {
namespace {

// Either because of its value, or because others come first.
bool is_locked(const Waiters* waiters) noexcept {
    return waiters->value == 0 || !are_all_cancelled(waiters->queue);
}

bool wake_one(Waiters* waiters) noexcept {
    if (!wake_next(waiters->queue)) return false;
    --waiters->value;
    return true;
}

template <bool kGivesTrue>
PySendResult begin_acquire(Coroutine* self, PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    if (is_locked(wait->waiters)) return wait_in(wait->waiters->queue, wait, result);
    --wait->waiters->value;
    return end_with(Py_NewRef(kGivesTrue ? Py_True : Py_None), result);
}

template <bool kGivesTrue>
PySendResult resume_acquire(Coroutine* self, PyObject* value, PyObject* thrown,
                            PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    leave_queue(wait);
    Waiters* waiters = wait->waiters;
    // Woken up, but it won't acquire: somebody else may.
    if (thrown != nullptr && wait->was_woken &&
        PyErr_GivenExceptionMatches(thrown, self->state->cancelled_error))
        ++waiters->value;
    while (waiters->value > 0 && wake_one(waiters)) continue;
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    return end_with(Py_NewRef(kGivesTrue ? Py_True : Py_None), result);
}

bool release(Waiters* waiters) noexcept {
    if (waiters->value >= waiters->bound) {
        PyErr_SetString(PyExc_ValueError, "BoundedSemaphore released too many times");
        return false;
    }
    ++waiters->value;
    wake_one(waiters);
    return true;
}

constexpr CoroutineKind kAcquire =
    wait_kind("acquire", "Semaphore.acquire", begin_acquire<true>, resume_acquire<true>);
constexpr CoroutineKind kEnter = wait_kind("__aenter__", "_ContextManagerMixin.__aenter__",
                                           begin_acquire<false>, resume_acquire<false>);
constexpr CoroutineKind kExit =
    wait_kind("__aexit__", "_ContextManagerMixin.__aexit__", begin_exit<release>, nullptr);

PyObject* locked(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    return waiters != nullptr ? PyBool_FromLong(is_locked(waiters)) : nullptr;
}

constexpr CoroutineMethod coroutines[] = {{"acquire", make_wait<kAcquire>},
                                          {"__aenter__", make_wait<kEnter>, 1, true},
                                          {"__aexit__", make_wait<kExit>, 4, true},
                                          {nullptr, nullptr}};

PyMethodDef methods[] = {
    {"release", release_method<release>, METH_NOARGS,
     "release($self)\n--\n\nRelease a semaphore, incrementing the internal counter by one.\n\n"
     "Where a task waits for it, that goes on."},
    {"locked", locked, METH_NOARGS,
     "locked($self)\n--\n\nReturns True if semaphore cannot be acquired immediately."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"_value", get_number<&Waiters::value>, set_number<&Waiters::value>, nullptr, nullptr},
    {"_bound_value", get_number<&Waiters::bound>, set_number<&Waiters::bound>, nullptr, nullptr},
    {"_waiters", get_waiters, nullptr, nullptr, nullptr},
    {"_loop", get_bound_loop, set_bound_loop, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods semaphore_methods = {"Semaphore", coroutines, methods, attributes,
                                            &State::waiters};
const PrimitiveMethods bounded_semaphore_methods = {"BoundedSemaphore", coroutines, methods,
                                                    attributes, &State::waiters};

}  // namespace penstock::py
