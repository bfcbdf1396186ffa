// asyncio.Event: `value` is its flag.
#include "sync/primitive.h"
#include "sync/wait.h"

namespace penstock::py {
namespace {

PySendResult begin_wait(Coroutine* self, PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    return wait->waiters->value ? end_with(Py_NewRef(Py_True), result)
                                : wait_in(wait->waiters->queue, wait, result);
}

PySendResult resume_wait(Coroutine* self, PyObject* value, PyObject* thrown,
                         PyObject** result) noexcept {
    leave_queue(as_wait(self));
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    return end_with(Py_NewRef(Py_True), result);
}

constexpr CoroutineKind kWait = wait_kind("wait", "Event.wait", begin_wait, resume_wait);

PyObject* set(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    if (waiters == nullptr) return nullptr;
    if (!waiters->value) {
        waiters->value = 1;
        wake_all(waiters->queue);
    }
    Py_RETURN_NONE;
}

PyObject* clear_flag(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    if (waiters == nullptr) return nullptr;
    waiters->value = 0;
    Py_RETURN_NONE;
}

PyObject* is_set(PyObject* self, PyObject*) {
    Waiters* waiters = waiters_of(self);
    return waiters != nullptr ? PyBool_FromLong(waiters->value != 0) : nullptr;
}

PyObject* get_flag(PyObject* self, void*) { return is_set(self, nullptr); }

constexpr CoroutineMethod coroutines[] = {{"wait", make_wait<kWait>}, {nullptr, nullptr}};

PyMethodDef methods[] = {
    {"set", set, METH_NOARGS,
     "set($self)\n--\n\nSet the flag to true: all tasks that wait for it go on."},
    {"clear", clear_flag, METH_NOARGS,
     "clear($self)\n--\n\nReset the flag to false: tasks that call wait() wait for set()."},
    {"is_set", is_set, METH_NOARGS,
     "is_set($self)\n--\n\nReturn True if and only if the internal flag is true."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_value", get_flag, set_number<&Waiters::value>, nullptr, nullptr},
                            {"_waiters", get_waiters, nullptr, nullptr, nullptr},
                            {"_loop", get_bound_loop, set_bound_loop, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods event_methods = {"Event", coroutines, methods, attributes, &State::waiters};

}  // namespace penstock::py
