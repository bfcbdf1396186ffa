// What every task remembers of itself, always, for those who look later: who made it and where,
// what it waits for and since when, who woke it, who cancelled it and why. Written in passing:
// no stack is walked, no clock is read.
#pragma once

#include <cstdint>

#include "py/python.h"

namespace penstock::py {

struct State;
struct Task;

enum class WaitKind : std::uint8_t {
    kNothing,  // runs, or is in the ready queue
    kFuture,
    kTask,
    kSleep,
    kPrimitive,  // a Lock, an Event, a Queue …
    kStream,
    kSocket,
    kForeign,  // a future of another make
    kNoRoom,   // nothing, but memory is out: `since` links it to who runs next
};

// A place in Python code. No code where it could not be told.
struct Site {
    PyObject* code;       // code object, or nullptr
    std::int32_t offset;  // in bytes, of the instruction
};

// The last task.cancel(). Where it was called says why as well: in Timeout._on_timeout(), in
// TaskGroup._abort(), at the end of a Runner, or in the program itself.
struct Cancellation {
    std::uint64_t canceller;  // the task that called it, 0 for a callback
    PyObject* message;        // nullptr for none
    Site site;
};

// Task::spawn_offset belongs to it: with spawn_code it is a Site.
struct TaskRecord {
    std::uint64_t id : 56;       // counts all tasks of the interpreter; also the N of "Task-N"
    WaitKind wait_kind;          // what it waits for, in the last byte of that word
    std::uint64_t parent;        // the task that made it, 0 for none
    std::uint64_t waker;         // the task that woke it last, 0 for a callback or the loop
    Cancellation* cancellation;  // nullptr where it was never cancelled, as most
    PyObject* spawn_code;
    std::int64_t since;  // when the wait began: the turn's time, in ns of CLOCK_MONOTONIC
};

// `thread` is the calling one.
void record_spawn_site(const State* state, Task* task, PyThreadState* thread) noexcept;
// The last one counts. Where memory is out, none does.
void record_cancellation(const State* state, TaskRecord& record, std::uint64_t canceller,
                         PyObject* message) noexcept;
int visit_record(const TaskRecord& record, visitproc visit, void* arg) noexcept;
void clear_record(TaskRecord& record) noexcept;

// task_record(task) -> dict | None: the record in Python's terms, None for a foreign task.
PyObject* task_record(PyObject* module, PyObject* task);

}  // namespace penstock::py
