#include "streams/handler_callback.h"

#include <utility>

#include "futures/future.h"
#include "loop/loop.h"
#include "py/context.h"
#include "py/ref.h"
#include "streams/reader_protocol.h"

namespace penstock::py {

bool is_put_off(const State* state, PyObject* callback, PyObject* context) noexcept {
    return Py_TYPE(callback) == state->stream_reader_protocol && context != nullptr &&
           context != Py_None && !is_context(context);
}

PyObject* make_handler_callback(State* state, PyObject* protocol) noexcept {
    ReaderProtocol* part = reader_protocol_of(protocol);
    if (part == nullptr) return nullptr;
    Ref<> held = Ref<>::borrow(object(part));
    Ref<> transport = Ref<>::steal(std::exchange(part->handled, nullptr));
    PyObject* made = PyObject_CallFunctionObjArgs(state->make_handler_callback, protocol,
                                                  transport ? transport.get() : Py_None, nullptr);
    if (made == nullptr) part->handled = transport.release();
    return made;
}

bool settle_handler_callback(State* state, BaseFuture* task) noexcept {
    if (task->callback0 == nullptr || !is_put_off(state, task->callback0, task->context0))
        return true;
    Ref<> protocol = Ref<>::borrow(task->callback0);
    Ref<> context = Ref<>::steal(Scratch::context_with(task->context0));
    Ref<> made = Ref<>::steal(context ? make_handler_callback(state, protocol.get()) : nullptr);
    if (!made) return false;
    Py_SETREF(task->callback0, made.release());
    Py_SETREF(task->context0, context.release());
    return true;
}

PyObject* put_off_handler_callback(PyObject* module, PyObject* const* args, Py_ssize_t count) {
    State* state = state_of(module);
    if (count != 4) return PyErr_Format(PyExc_TypeError, "it takes 4 arguments");
    PyObject *protocol = args[0], *transport = args[1], *candidate = args[2];
    if (!state->native_task || !state->bare_context || Py_TYPE(candidate) != state->task ||
        Py_TYPE(protocol) != state->stream_reader_protocol)
        Py_RETURN_FALSE;
    Task* task = as_task(candidate);
    const Loop* loop = native_loop(task);
    ReaderProtocol* part = reader_protocol_of(protocol);
    if (part == nullptr) return nullptr;
    // Called at once, behind another, or when the protocol stands for one already.
    if (loop == nullptr || task->state != kPending || task->callback0 != nullptr ||
        task->callbacks != nullptr || part->handled != nullptr)
        Py_RETURN_FALSE;
    PyObject* vars = Scratch::snapshot(PyThreadState_Get(), true, state->empty_vars);
    if (state->make_handler_callback == nullptr) state->make_handler_callback = Py_NewRef(args[3]);
    part->handled = Py_NewRef(transport);
    task->callback0 = Py_NewRef(protocol);
    task->context0 = vars;
    Py_RETURN_TRUE;
}

}  // namespace penstock::py
