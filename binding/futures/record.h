// What every task remembers of itself, always, for those who look later: who made it and where,
// what it waits for and since when, who woke it, who cancelled it and why. Written in passing:
// no stack is walked, no clock is read.
#pragma once

#include <cstdint>

#include "py/python.h"

namespace penstock::py {

enum class WaitKind : std::uint8_t {
    kNothing,  // runs, or is in the ready queue
    kFuture,
    kTask,
    kSleep,
    kForeign,  // a future of another make
};

enum class CancelKind : std::uint8_t {
    kNone,
    kRequest,  // task.cancel()
};

struct TaskRecord {
    std::uint64_t id;           // counts all tasks of the interpreter; also the N of "Task-N"
    std::uint64_t parent;       // the task that made it, 0 for none
    std::uint64_t waker;        // the task that woke it last, 0 for a callback or the loop
    std::uint64_t canceller;    // the task that cancelled it last, 0 for a callback or none
    PyObject* spawn_code;       // where it was made: code object, or nullptr
    std::int32_t spawn_offset;  // and offset in bytes of the instruction
    WaitKind wait_kind;
    CancelKind cancel_kind;
    std::int64_t since;  // when the wait began: the turn's time, in ns of CLOCK_MONOTONIC
};

// Where Python code calls us from.
void record_spawn_site(TaskRecord& record) noexcept;

// task_record(task) -> dict | None: the record in Python's terms, None for a foreign task.
PyObject* task_record(PyObject* module, PyObject* task);

}  // namespace penstock::py
