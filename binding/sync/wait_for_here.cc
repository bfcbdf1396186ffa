// wait_for() from 3.12 on: `async with timeout(limit): return await fut`, in the caller's task.
#include "sync/wait_for.h"

#if PY_VERSION_HEX >= 0x030C0000

#include <cstring>

#include "futures/future.h"
#include "sync/timeout.h"

namespace penstock::py {
namespace {

// coroutine.cr_await, without the call of a method.
bool is_awaited(PyObject* coroutine) noexcept {
    static const PyGetSetDef* const found = [] {
        const PyGetSetDef* each = PyCoro_Type.tp_getset;
        while (each->name != nullptr && std::strcmp(each->name, "cr_await") != 0) ++each;
        return each;
    }();
    if (found->get == nullptr) return true;
    Ref<> awaited = Ref<>::steal(found->get(coroutine, found->closure));
    return awaited.get() != Py_None;
}

// What `await` would iterate over; nullptr without an exception where we leave it to `await`.
Ref<> iterator_of(State* state, PyObject* awaitable) noexcept {
    if (PyCoro_CheckExact(awaitable))
        return is_awaited(awaitable) ? Ref<>() : Ref<>::borrow(awaitable);
    if (is_native_coroutine(awaitable)) return Ref<>::borrow(awaitable);
    if (!is_known_future(state, awaitable)) return {};
    return Ref<>::steal(Py_TYPE(awaitable)->tp_as_async->am_await(awaitable));
}

}  // namespace

Began begin_wait_for(Loop* loop, WaitFor* self, double seconds, PySendResult& sent,
                     PyObject** result) noexcept {
    Ref<> iterator = iterator_of(self->state, self->awaitable);
    if (!iterator) return PyErr_Occurred() != nullptr ? Began::kFailed : Began::kNo;
    Began began = enter_timeout(loop, seconds, self->timeout);
    if (began == Began::kYes) sent = delegate_to(self, iterator.release(), result);
    return began;
}

PySendResult resume_wait_for(WaitFor* self, PyObject* value, PyObject* thrown,
                             PyObject** result) noexcept {
    if (thrown == nullptr) {
        if (leave_timeout(self->timeout, nullptr)) [[likely]]
            return end_with(value, result);
        Py_DECREF(value);
        return fail(result);
    }
    leave_timeout(self->timeout, thrown);
    return fail(result);
}

int visit_wait_for(const WaitFor* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(self->timeout));
    return 0;
}

void clear_wait_for(WaitFor* self) noexcept {
    if (self->timeout != nullptr) forget_timeout(self->timeout);
    Py_CLEAR(self->timeout);
}

}  // namespace penstock::py

#endif
