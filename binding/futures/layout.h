// The storage of _asyncio.Future and _asyncio.Task, which our types derive from and share: one
// table a minor version of CPython. These structs are private to CPython, so probe.cc compares
// them with objects in known states at import, every field that we touch; where anything
// differs, stock Task and Future are used.
//
// Native fields follow behind the base's own, but for one in a gap of the base's.
#pragma once

#include "futures/record.h"
#include "py/python.h"

namespace penstock::py {

struct Loop;

enum FutureState : int { kPending, kCancelled, kFinished };

#if PY_VERSION_HEX >= 0x030E0000
#define PENSTOCK_FUTURE_TAIL \
    PyObject* awaited_by;    \
    int state;               \
    char is_task;            \
    char awaited_by_is_set;  \
    unsigned log_tb : 1;     \
    unsigned blocking : 1;
#elif PY_VERSION_HEX >= 0x030D0000
#define PENSTOCK_FUTURE_TAIL \
    int state;               \
    unsigned log_tb : 1;     \
    unsigned blocking : 1;
#endif

#if PY_VERSION_HEX >= 0x030D0000
#define PENSTOCK_FUTURE_HEAD                                                                    \
    PyObject_HEAD PyObject *loop, *callback0, *context0, *callbacks, *exception, *exception_tb, \
        *result, *source_tb, *cancel_msg, *cancelled_exc;                                       \
    PENSTOCK_FUTURE_TAIL
#else
#define PENSTOCK_FUTURE_HEAD                                                                    \
    PyObject_HEAD PyObject *loop, *callback0, *context0, *callbacks, *exception, *exception_tb, \
        *result, *source_tb, *cancel_msg;                                                       \
    int state;                                                                                  \
    int log_tb;                                                                                 \
    int blocking;                                                                               \
    PyObject* dict;                                                                             \
    PyObject* weakrefs;                                                                         \
    PyObject* cancelled_exc;
#endif

struct BaseFuture {
    PENSTOCK_FUTURE_HEAD
};

struct ListNode {  // as CPython's llist_node
    ListNode* next;
    ListNode* prev;
};

// In one struct, since the bit fields of both parts share a word. `spawn_offset` is ours, and a
// part of Task::record: it lies where the base has only padding, so that a task is not 8 bytes
// longer.
struct BaseTask {
    PENSTOCK_FUTURE_HEAD
#if PY_VERSION_HEX >= 0x030D0000
    unsigned must_cancel : 1;
    unsigned log_destroy_pending : 1;
    int cancels_requested;
    std::int32_t spawn_offset;
    PyObject *waiter, *coro, *name, *context;
#if PY_VERSION_HEX >= 0x030E0000
    ListNode node;
#endif
#else
    PyObject *waiter, *coro, *name, *context;
    int must_cancel;
    int log_destroy_pending;
    int cancels_requested;
    std::int32_t spawn_offset;
#endif
};

#undef PENSTOCK_FUTURE_HEAD
#undef PENSTOCK_FUTURE_TAIL

// Task derives from Future too (isinstance() must say so), so Future adds nothing to its base.
using Future = BaseFuture;

// `native` is the task's loop where we may push to its ready queue ourselves, else nullptr:
// another kind of loop, or a subclass with a call_soon() of its own. Borrowed: the base's `loop`
// keeps it alive, and native_loop() checks that it still is the same.
struct Task : BaseTask {
    Loop* native;
    PyObject* vars;  // the context's variables while `context` is None: see py/context.h
#if PY_VERSION_HEX < 0x030E0000
    ListNode node;  // in the list of all native tasks
#endif
    TaskRecord record;
};

static_assert(sizeof(TaskRecord) == 48);
#if PY_VERSION_HEX < 0x030D0000
// With the 16 bytes that the collector puts before it, pymalloc's class of 272.
static_assert(sizeof(Task) == 256);
#endif

inline Loop* native_loop(const Task* task) noexcept {
    return object(task->native) == task->loop ? task->native : nullptr;
}

// The part that Future and Task have in common, at the same offsets.
inline BaseFuture* as_base(PyObject* object) noexcept {
    return reinterpret_cast<BaseFuture*>(object);
}
inline BaseFuture* as_base(Task* task) noexcept { return reinterpret_cast<BaseFuture*>(task); }
inline Task* as_task(PyObject* object) noexcept { return reinterpret_cast<Task*>(object); }

}  // namespace penstock::py
