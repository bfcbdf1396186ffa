// A coroutine that is ours: what a native `async def` returns. Lazy, warns where it was never
// awaited, and is a coroutine in all but its type: send(), throw(), close(), cr_*.
//
// It is suspended in one of two ways. Parked, it is itself what the task that steps it waits for:
// no future is made, and waking it up is a push to the ready queue. Only the step of a native task
// understands that; for whoever else drives it, it delegates to the iterator of a future or of
// another awaitable, as `yield from` does.
//
// Who owns what: a task that waits holds the coroutine, which holds the task; wake() and cancel()
// part them. Whatever may call wake() holds a reference of its own.
#pragma once

#include <cstdint>

#include "futures/layout.h"
#include "py/free_list.h"
#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

struct Coroutine;
struct Loop;

// Each kind of coroutine is a type of its own, made by add_coroutine_type(); its object begins
// with a Coroutine.
struct CoroutineKind {
    const char* name;
    const char* qualified_name;
    WaitKind wait_kind;  // for the record of a task that waits, parked
    // The first send. Either ends (PYGEN_RETURN, PYGEN_ERROR) or is suspended by park() or
    // delegate_to(), whose result it returns.
    PySendResult (*begin)(Coroutine* self, PyObject** result) noexcept;
    // What it was suspended for is over: `value` or `thrown`, both taken over, the other nullptr.
    PySendResult (*resume)(Coroutine* self, PyObject* value, PyObject* thrown,
                           PyObject** result) noexcept;
    int (*visit)(Coroutine* self, visitproc visit, void* arg) noexcept;
    void (*clear)(Coroutine* self) noexcept;
    // Parked, it was cancelled, thrown into or closed. May be nullptr.
    void (*withdraw)(Coroutine* self, Loop* loop) noexcept;
    FreeCoroutines State::*free;
    // Its result is let go by whoever gets it, not at the end of the turn: its end shows.
    bool gives_away = false;
};

enum class CoroutinePhase : std::uint8_t {
    kNew,
    kRunning,
    kYielded,    // has given way for a turn
    kParked,     // until wake() or cancel()
    kWoken,      // the task has not come yet
    kCancelled,  // the same
    kDelegated,
    kOver,
};

struct Coroutine {
    // Python makes them. With a constructor declared, what a kind adds may begin in the last word.
    Coroutine() = delete;

    PyObject_HEAD State* state;
    const CoroutineKind* kind;
    PyObject* inner;    // what it delegates to
    Task* task;         // that waits for it, parked
    PyObject* brought;  // by cancel() its message; a kind may keep there what wakes it up
    PyObject* weakrefs;
    CoroutinePhase phase;
};

inline Coroutine* as_coroutine(PyObject* object) noexcept {
    return reinterpret_cast<Coroutine*>(object);
}

PyObject* coroutine_next(PyObject* self);

inline bool is_native_coroutine(PyObject* candidate) noexcept {
    return Py_TYPE(candidate)->tp_iternext == coroutine_next;
}

// A new one, untracked: the caller fills in what follows the Coroutine, then tracks it.
Coroutine* new_coroutine(State* state, PyTypeObject* type, const CoroutineKind* kind) noexcept;

// Whether a coroutine that begins or resumes now may park.
bool may_park(Loop* running) noexcept;

// The ways to suspend; what begin() and resume() return.
PySendResult park(Coroutine* self, PyObject** result) noexcept;
PySendResult give_way(Coroutine* self, PyObject** result) noexcept;
PySendResult delegate_to(Coroutine* self, PyObject* iterator,
                         PyObject** result) noexcept;  // steals
// To what `awaitable.__await__()` gives.
PySendResult delegate_to_awaitable(Coroutine* self, PyObject* awaitable,
                                   PyObject** result) noexcept;
// The ways to end.
inline PySendResult end_with(PyObject* value, PyObject** result) noexcept {  // steals
    *result = value;
    return PYGEN_RETURN;
}
inline PySendResult end_with_none(PyObject** result) noexcept {
    return end_with(Py_NewRef(Py_None), result);
}
PySendResult end_with_exception(PyObject* exception, PyObject** result) noexcept;  // steals
inline PySendResult fail(PyObject** result) noexcept {  // an exception is set
    *result = nullptr;
    return PYGEN_ERROR;
}

// Lets the task of a parked coroutine run; false where it is not parked.
bool wake(Coroutine* self) noexcept;

// The step of a native task has got `coroutine` as what it has to wait for. Takes over `task`.
void wait_for_coroutine(Loop* loop, PyObject* coroutine, Task* task) noexcept;
// What the task gets thrown where the wait was cancelled, else nullptr.
PyObject* coroutine_exception(PyObject* coroutine) noexcept;

inline bool is_wait_over(const Coroutine* self) noexcept {
    return self->phase != CoroutinePhase::kParked;
}

bool add_coroutine_type(PyObject* module, const char* name, std::size_t size,
                        PyTypeObject*& slot) noexcept;

}  // namespace penstock::py
