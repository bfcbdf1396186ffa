#include "sync/wait_for.h"

#include "py/types.h"

namespace penstock::py {
namespace {

PySendResult delegate_to_stock(WaitFor* self, PyObject** result) noexcept {
    Ref<> awaitable = Ref<>::steal(std::exchange(self->awaitable, nullptr));
    PyObject* stock = PyObject_CallFunctionObjArgs(self->state->stock_wait_for, awaitable.get(),
                                                   self->limit, nullptr);
    return stock != nullptr ? delegate_to(self, stock, result) : fail(result);
}

PySendResult begin(Coroutine* coroutine, PyObject** result) noexcept {
    WaitFor* self = as_wait_for(coroutine);
    Loop* loop = loop_of_deadlines(self->state);
    double seconds = 0;
    PySendResult sent = PYGEN_ERROR;
    if (loop == nullptr || !read_seconds(self->limit, seconds) || seconds <= 0)
        return delegate_to_stock(self, result);
    switch (begin_wait_for(loop, self, seconds, sent, result)) {
        case Began::kYes: return sent;
        case Began::kNo: return delegate_to_stock(self, result);
        default: return fail(result);
    }
}

// Where it has delegated to asyncio's coroutine, `awaitable` is not its own any more.
PySendResult resume(Coroutine* coroutine, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    WaitFor* self = as_wait_for(coroutine);
    if (self->awaitable != nullptr) return resume_wait_for(self, value, thrown, result);
    return thrown != nullptr ? end_with_exception(thrown, result) : end_with(value, result);
}

int visit_all(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_wait_for(self)->awaitable);
    Py_VISIT(as_wait_for(self)->limit);
    return visit_wait_for(as_wait_for(self), visit, arg);
}

void clear_all(Coroutine* self) noexcept {
    clear_wait_for(as_wait_for(self));
    Py_CLEAR(as_wait_for(self)->awaitable);
    Py_CLEAR(as_wait_for(self)->limit);
}

constexpr CoroutineKind kWaitFor = {.name = "wait_for",
                                    .qualified_name = "wait_for",
                                    .wait_kind = WaitKind::kTask,
                                    .begin = begin,
                                    .resume = resume,
                                    .visit = visit_all,
                                    .clear = clear_all,
                                    .withdraw = nullptr,
                                    .free = &State::free_wait_fors};

}  // namespace

PyObject* wait_for_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                            PyObject* names) {
    State* state = state_of(module);
    PyObject* awaitable = count > 0 ? args[0] : nullptr;
    PyObject* limit = count > 1 ? args[1] : nullptr;
    Keywords keywords(args, count, names);
    bool is_odd = count > 2;
    for (Py_ssize_t i = 0; i < keywords.count(); ++i) {
        if (keywords.is(i, state->str_timeout) && limit == nullptr)
            limit = keywords.value(i);
        else if (keywords.is(i, state->str_fut) && awaitable == nullptr)
            awaitable = keywords.value(i);
        else
            is_odd = true;
    }
    if (is_odd || awaitable == nullptr || limit == nullptr)  // it words the TypeError
        return PyObject_Vectorcall(state->stock_wait_for, args, static_cast<std::size_t>(count),
                                   names);
    auto* self = static_cast<WaitFor*>(new_coroutine(state, state->wait_for, &kWaitFor));
    if (self == nullptr) return nullptr;
    self->awaitable = Py_NewRef(awaitable);
    self->limit = Py_NewRef(limit);
#if PY_VERSION_HEX >= 0x030C0000
    self->timeout = nullptr;
#else
    self->deadline = nullptr;
    self->callback = nullptr;
    self->cancelled = nullptr;
#endif
    PyObject_GC_Track(object(self));
    return object(self);
}

bool add_wait_for_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.WaitFor", sizeof(WaitFor), state->wait_for);
}

}  // namespace penstock::py
