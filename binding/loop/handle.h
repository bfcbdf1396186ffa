// asyncio.Handle and TimerHandle: a callback with its arguments and its context.
//
// Up to three arguments lie in the handle itself, more in a tuple in args[0]. A cancelled handle
// lets go of everything at once and stays in its queue until its turn.
//
// The collector sees what might be garbage: a running loop is none, so neither is what stands in
// its queues. A handle that is made meanwhile is tracked only if it outlives its turn, or the run.
#pragma once

#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

struct Handle {
    static constexpr Py_ssize_t kInlineArgs = 3;
    static constexpr std::uint8_t kArgsInTuple = 255;

    PyObject_HEAD Loop* loop;  // strong
    PyObject* callback;        // nullptr once cancelled or run
    PyObject* context;         // vars or Context: see py/context.h
    PyObject* args[kInlineArgs];
    PyObject* source_traceback;  // in debug mode
    PyObject* weakrefs;
    std::uint8_t arg_count;
    bool is_cancelled;
    bool is_timer;
    bool is_queued;  // in the timer heap
    bool is_running;
    bool is_tracked;  // by the collector
    bool persists;    // runs again and again: a reader or writer
    union {
        std::size_t caused;  // of such a one: what it has made ready ends there in the ready queue
        double when;         // of a timer: seconds, as loop.time()
    };
};

inline Handle* as_handle(PyObject* object) noexcept { return reinterpret_cast<Handle*>(object); }

// A new handle for `callback(*args)`; `context` is a Context, None or nullptr (the current one).
// The caller gets the only reference, and tracks it or puts it into a queue of the loop.
Handle* new_handle(Loop* loop, PyObject* callback, PyObject* const* args, Py_ssize_t count,
                   PyObject* context) noexcept;
Handle* new_timer_handle(Loop* loop, double when, PyObject* callback, PyObject* const* args,
                         Py_ssize_t count, PyObject* context) noexcept;

void track(Handle* handle) noexcept;

// Takes over a reference that a queue has held. Whoever else holds the handle is nothing that the
// loop keeps alive.
inline void drop_queued(Handle* handle) noexcept {
    if (Py_REFCNT(object(handle)) > 1) track(handle);
    Py_DECREF(object(handle));
}

// Calls it unless it is cancelled, and reports what it raises.
void run_handle(Handle* handle) noexcept;

// As Handle.cancel().
void cancel_handle(Handle* handle) noexcept;

bool add_handle_types(PyObject* module, State* state);

}  // namespace penstock::py
