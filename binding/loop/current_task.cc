// What asyncio.current_task() answers. Below 3.14 a dict of _asyncio, {loop: task}; from 3.14 on
// a field of the thread state, which probe.cc finds.
#include "base/fork.h"
#include "loop/loop.h"
#include "py/ref.h"

#if PY_VERSION_HEX < 0x030E0000
extern "C" {
PyAPI_FUNC(PyObject*) _PyDict_GetItem_KnownHash(PyObject*, PyObject*, Py_hash_t);
PyAPI_FUNC(int) _PyDict_SetItem_KnownHash(PyObject*, PyObject*, PyObject*, Py_hash_t);
PyAPI_FUNC(int) _PyDict_DelItem_KnownHash(PyObject*, PyObject*, Py_hash_t);
}
#endif

namespace penstock::py {

bool write_current_task(Loop* loop, PyObject* task) noexcept {
    State* state = loop->state;
    bool is_written = true;
    PyObject* pending = has_exception(current_thread(loop)) ? take_exception() : nullptr;
#if PY_VERSION_HEX >= 0x030E0000
    if (state->running_task_offset > 0) {
        auto* slot = reinterpret_cast<PyObject**>(reinterpret_cast<char*>(PyThreadState_Get()) +
                                                  state->running_task_offset);
        Py_XSETREF(*slot, Py_XNewRef(task));
    }
#else
    if (state->current_tasks != nullptr) {
        int error =
            task != nullptr
                ? _PyDict_SetItem_KnownHash(state->current_tasks, object(loop), task, loop->hash)
                : _PyDict_DelItem_KnownHash(state->current_tasks, object(loop), loop->hash);
        if (error < 0) {
            PyErr_Clear();  // KeyError: somebody has left for us
            is_written = task == nullptr;
        }
    }
#endif
    loop->entered = is_written ? task : nullptr;
    if (pending != nullptr) raise_exception(pending);
    return is_written;
}

Ref<> read_current_task(Loop* loop) noexcept {
    State* state = loop->state;
    PyObject* task = nullptr;
#if PY_VERSION_HEX >= 0x030E0000
    if (state->running_task_offset > 0)
        task = *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(PyThreadState_Get()) +
                                             state->running_task_offset);
#else
    if (state->current_tasks != nullptr) {
        task = _PyDict_GetItem_KnownHash(state->current_tasks, object(loop), loop->hash);
        if (task == nullptr) PyErr_Clear();
    }
#endif
    return Ref<>::borrow(task);
}

Loop* running_loop(State* state) noexcept {
    if (state->running_loops == 0) return nullptr;
    if (state->running_thread == PyThreadState_Get() && state->running_process == fork_count())
        [[likely]]
        return state->running;
    // Two loops in two threads, or a loop of the process that has forked this one: asyncio knows.
    PyObject* running = PyObject_CallNoArgs(state->get_running_loop);
    if (running == nullptr) {
        PyErr_Clear();
        return nullptr;
    }
    Loop* loop = PyObject_TypeCheck(running, state->loop) ? as_loop(running) : nullptr;
    Py_DECREF(running);
    return loop;
}

}  // namespace penstock::py
