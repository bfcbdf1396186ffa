#include "futures/record.h"

#include <utility>

#include "futures/site.h"
#include "futures/task.h"
#include "loop/loop.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

const char* name_of(WaitKind kind) noexcept {
    switch (kind) {
        case WaitKind::kFuture: return "future";
        case WaitKind::kTask: return "task";
        case WaitKind::kSleep: return "sleep";
        case WaitKind::kPrimitive: return "primitive";
        case WaitKind::kStream: return "stream";
        case WaitKind::kSocket: return "socket";
        case WaitKind::kForeign: return "foreign future";
        default: return nullptr;
    }
}

void clear_cancellation(Cancellation* cancellation) noexcept {
    if (cancellation == nullptr) return;
    Py_XDECREF(cancellation->message);
    Py_XDECREF(cancellation->site.code);
    PyMem_Free(cancellation);
}

PyObject* id_or_none(std::uint64_t id) noexcept {
    return id != 0 ? PyLong_FromUnsignedLongLong(id) : Py_NewRef(Py_None);
}

PyObject* or_none(PyObject* borrowed) noexcept { return borrowed != nullptr ? borrowed : Py_None; }

PyObject* cancellation_or_none(const Cancellation* cancellation) noexcept {
    if (cancellation == nullptr) Py_RETURN_NONE;
    return Py_BuildValue("{s:N,s:O,s:O,s:i}", "by", id_or_none(cancellation->canceller), "message",
                         or_none(cancellation->message), "code", or_none(cancellation->site.code),
                         "offset", static_cast<int>(cancellation->site.offset));
}

}  // namespace

void record_spawn_site(const State* state, Task* task, PyThreadState* thread) noexcept {
    Site site = calling_site(state, thread);
    task->record.spawn_code = site.code;
    task->spawn_offset = site.offset;
}

void record_cancellation(const State* state, TaskRecord& record, std::uint64_t canceller,
                         PyObject* message) noexcept {
    auto* made = static_cast<Cancellation*>(PyMem_Malloc(sizeof(Cancellation)));
    if (made == nullptr) return;
    *made = {canceller, message != Py_None ? Py_NewRef(message) : nullptr,
             calling_site(state, PyThreadState_Get())};
    clear_cancellation(std::exchange(record.cancellation, made));
}

int visit_record(const TaskRecord& record, visitproc visit, void* arg) noexcept {
    Py_VISIT(record.spawn_code);
    if (record.cancellation != nullptr) {
        Py_VISIT(record.cancellation->message);
        Py_VISIT(record.cancellation->site.code);
    }
    return 0;
}

void clear_record(TaskRecord& record) noexcept {
    Py_CLEAR(record.spawn_code);
    clear_cancellation(std::exchange(record.cancellation, nullptr));
}

PyObject* task_record(PyObject* module, PyObject* candidate) {
    State* state = state_of(module);
    if (!state->native_task || !PyObject_TypeCheck(candidate, state->task) ||
        native_loop(as_task(candidate)) == nullptr)
        Py_RETURN_NONE;
    Task* task = as_task(candidate);
    const TaskRecord& record = task->record;
    bool waits = name_of(record.wait_kind) != nullptr;
    return Py_BuildValue(
        "{s:K,s:N,s:O,s:i,s:z,s:O,s:N,s:N,s:N}", "id", static_cast<unsigned long long>(record.id),
        "parent", id_or_none(record.parent), "spawn_code", or_none(record.spawn_code),
        "spawn_offset", static_cast<int>(task->spawn_offset), "wait_kind",
        name_of(record.wait_kind), "waits_for", or_none(task->waiter), "since",
        waits ? PyFloat_FromDouble(static_cast<double>(record.since) / 1e9) : Py_NewRef(Py_None),
        "woken_by", id_or_none(record.waker), "cancelled",
        cancellation_or_none(record.cancellation));
}

}  // namespace penstock::py
