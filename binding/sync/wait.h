// What Lock, Event, Semaphore and Condition have in common: a queue of coroutines that wait, in
// the order in which they came, and a number (locked, set, how many are left).
//
// The queue holds a reference to each; a coroutine leaves it as it goes on, not when it is woken
// up or cancelled, exactly as the futures do that stand in asyncio's `_waiters`.
#pragma once

#include "loop/loop.h"
#include "sync/coroutine.h"
#include "sync/primitive.h"

namespace penstock::py {

// Also a queue of them, which is a ring with a link of its own.
struct WaitLink {
    WaitLink* next;
    WaitLink* prev;
};

// The native part of a primitive, which its Python object keeps in the slot `_native`.
struct Waiters {
    PyObject_HEAD State* state;
    PyObject* loop;  // the first that somebody waited on: mixins._LoopBoundMixin
    WaitLink queue;
    Py_ssize_t value;
    Py_ssize_t bound;  // of a BoundedSemaphore's value, else the largest number
};

struct Wait : Coroutine {
    bool was_woken;  // first: it lies in the Coroutine's last word
    WaitLink link;
    PyObject* primitive;
    Waiters* waiters;
    PyObject* future;  // where it is not parked
};

inline Wait* as_wait(Coroutine* self) noexcept { return static_cast<Wait*>(self); }
inline Wait* wait_of(WaitLink* link) noexcept {
    return reinterpret_cast<Wait*>(reinterpret_cast<char*>(link) - offsetof(Wait, link));
}

inline bool is_empty(const WaitLink& queue) noexcept { return queue.next == &queue; }
inline void make_empty(WaitLink& queue) noexcept { queue = {&queue, &queue}; }

// The native part of a lock or its like: as part_of().
inline Waiters* waiters_of(PyObject* primitive) noexcept { return part_of<Waiters>(primitive); }

// primitive._get_loop() of asyncio: binds it to the running loop. False with RuntimeError set where
// none runs, or another than before. `running` is the running loop where it is ours, else nullptr.
bool bind_to_loop(PyObject* primitive, Waiters* waiters, Loop*& running) noexcept;

// A coroutine of `primitive` that has not begun, of the type `type`. Not yet tracked.
Wait* new_wait(PyTypeObject* type, PyObject* primitive, Waiters* waiters,
               const CoroutineKind* kind) noexcept;

// Suspends it at the end of `queue`.
PySendResult wait_in(WaitLink& queue, Wait* wait, PyObject** result) noexcept;
// Takes it out again: false where it is in none.
bool leave_queue(Wait* wait) noexcept;

bool is_pending(const Wait* wait) noexcept;
bool is_cancelled(const Wait* wait) noexcept;
bool are_all_cancelled(const WaitLink& queue) noexcept;

// Lets a wait that is pending go on.
void wake_wait(Wait* wait) noexcept;
// The first that is pending: false where there is none.
bool wake_next(WaitLink& queue) noexcept;
void wake_all(WaitLink& queue) noexcept;

int visit_queue(const WaitLink& queue, visitproc visit, void* arg) noexcept;
void clear_queue(WaitLink& queue) noexcept;
// A new list of what their tasks wait for.
PyObject* list_queue(const WaitLink& queue) noexcept;

int visit_wait(Coroutine* self, visitproc visit, void* arg) noexcept;
void clear_wait(Coroutine* self) noexcept;

constexpr CoroutineKind wait_kind(const char* name, const char* qualified_name,
                                  decltype(CoroutineKind::begin) begin,
                                  decltype(CoroutineKind::resume) resume) noexcept {
    return {.name = name,
            .qualified_name = qualified_name,
            .wait_kind = WaitKind::kPrimitive,
            .begin = begin,
            .resume = resume,
            .visit = visit_wait,
            .clear = clear_wait,
            .withdraw = nullptr,
            .free = &State::free_waits};
}

// The function behind a method whose coroutine is of `kKind`.
template <const CoroutineKind& kKind>
PyObject* make_wait(PyObject*, PyObject* const* args, Py_ssize_t, PyObject*) {
    Waiters* waiters = waiters_of(args[0]);
    if (waiters == nullptr) return nullptr;
    Wait* wait = new_wait(waiters->state->wait, args[0], waiters, &kKind);
    if (wait != nullptr) PyObject_GC_Track(object(wait));
    return object(wait);
}

// release() and `__aexit__` of a primitive that `kRelease(waiters)` releases; it is false with an
// exception set where that can't be.
template <auto kRelease>
PyObject* release_method(PyObject* primitive, PyObject*) {
    Waiters* waiters = waiters_of(primitive);
    if (waiters == nullptr || !kRelease(waiters)) return nullptr;
    Py_RETURN_NONE;
}
template <auto kRelease>
PySendResult begin_exit(Coroutine* self, PyObject** result) noexcept {
    return kRelease(as_wait(self)->waiters) ? end_with_none(result) : fail(result);
}

// Reads a number, or a truth, that Python code sets a private attribute to: false with an exception
// set where it is none.
bool read_number(PyObject* value, Py_ssize_t& number) noexcept;

// `_value` and its like.
template <Py_ssize_t Waiters::*kField>
PyObject* get_number(PyObject* primitive, void*) {
    Waiters* waiters = waiters_of(primitive);
    return waiters != nullptr ? PyLong_FromSsize_t(waiters->*kField) : nullptr;
}
template <Py_ssize_t Waiters::*kField>
int set_number(PyObject* primitive, PyObject* value, void*) {
    Waiters* waiters = waiters_of(primitive);
    return waiters != nullptr && read_number(value, waiters->*kField) ? 0 : -1;
}

// `_waiters` and `_loop`, which are private in asyncio and yet looked at.
PyObject* get_waiters(PyObject* primitive, void*);
PyObject* get_bound_loop(PyObject* primitive, void*);
int set_bound_loop(PyObject* primitive, PyObject* loop, void*);

bool add_wait_types(PyObject* module, State* state);
bool add_queue_types(PyObject* module, State* state);

}  // namespace penstock::py
