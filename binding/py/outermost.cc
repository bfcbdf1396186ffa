#include "py/outermost.h"

#include <utility>

#include "py/types.h"

namespace penstock::py {
namespace {

// What a thread's chain of frames ends with before any has been called. A template, so that the
// member is asked for only where it exists: CPython 3.15 ends the chain with a frame of its own.
template <class Thread>
auto chain_end(Thread* thread) noexcept {
    if constexpr (requires { thread->base_frame; })
        return thread->base_frame;
    else
        return nullptr;
}

auto& current_frame(PyThreadState* thread) noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    return thread->current_frame;
#else
    return thread->cframe->current_frame;
#endif
}

}  // namespace

// The thread is as new while the call lasts. Our callers' frames live on the C stack and in its
// evaluation loops, which need the chain again only after we have returned.
PyObject* call_outermost(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "call_outermost() takes a function and its arguments");
        return nullptr;
    }
    PyThreadState* thread = PyThreadState_Get();
    auto callers = std::exchange(current_frame(thread), chain_end(thread));
    PyObject* result =
        PyObject_Vectorcall(args[0], args + 1, static_cast<std::size_t>(count - 1), nullptr);
    current_frame(thread) = callers;
    return result;
}

}  // namespace penstock::py
