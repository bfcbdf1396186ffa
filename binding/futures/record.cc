#include "futures/record.h"

#include "futures/task.h"
#include "loop/loop.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

#if PY_VERSION_HEX < 0x030C0000
// 3.11 has no call for it yet: the head of its _PyInterpreterFrame.
struct InterpreterFrame {
    PyObject* function;
    PyObject* globals;
    PyObject* builtins;
    PyObject* locals;
    PyCodeObject* code;
    PyObject* frame_object;
    InterpreterFrame* previous;
    _Py_CODEUNIT* previous_instruction;
};
#endif

const char* name_of(WaitKind kind) noexcept {
    switch (kind) {
        case WaitKind::kFuture: return "future";
        case WaitKind::kTask: return "task";
        case WaitKind::kSleep: return "sleep";
        case WaitKind::kForeign: return "foreign future";
        default: return nullptr;
    }
}

}  // namespace

void record_spawn_site(TaskRecord& record) noexcept {
    PyThreadState* thread = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030C0000
#if PY_VERSION_HEX >= 0x030D0000
    auto* frame = thread->current_frame;
#else
    auto* frame = thread->cframe->current_frame;
#endif
    if (frame == nullptr) return;
    PyObject* code = PyUnstable_InterpreterFrame_GetCode(frame);
    if (code == nullptr || !PyCode_Check(code)) {
        Py_XDECREF(code);
        return;
    }
    record.spawn_code = code;
    record.spawn_offset = PyUnstable_InterpreterFrame_GetLasti(frame);
#else
    auto* frame = reinterpret_cast<InterpreterFrame*>(thread->cframe->current_frame);
    if (frame == nullptr) return;
    auto* begin = reinterpret_cast<_Py_CODEUNIT*>(frame->code->co_code_adaptive);
    record.spawn_code = Py_NewRef(object(frame->code));
    record.spawn_offset =
        static_cast<std::int32_t>((frame->previous_instruction - begin) * sizeof(_Py_CODEUNIT));
#endif
}

PyObject* task_record(PyObject* module, PyObject* candidate) {
    State* state = state_of(module);
    if (!state->native_task || !PyObject_TypeCheck(candidate, state->task) ||
        native_loop(as_task(candidate)) == nullptr)
        Py_RETURN_NONE;
    Task* task = as_task(candidate);
    const TaskRecord& record = task->record;
    auto id_or_none = [](std::uint64_t id) {
        return id != 0 ? PyLong_FromUnsignedLongLong(id) : Py_NewRef(Py_None);
    };
    bool waits = record.wait_kind != WaitKind::kNothing;
    const char* cancel_kind = record.cancel_kind == CancelKind::kRequest ? "request" : nullptr;
    return Py_BuildValue(
        "{s:K,s:N,s:O,s:i,s:z,s:O,s:N,s:N,s:N,s:z}", "id",
        static_cast<unsigned long long>(record.id), "parent", id_or_none(record.parent),
        "spawn_code", record.spawn_code != nullptr ? record.spawn_code : Py_None, "spawn_offset",
        static_cast<int>(record.spawn_offset), "wait_kind", name_of(record.wait_kind), "waits_for",
        task->waiter != nullptr ? task->waiter : Py_None, "since",
        waits ? PyFloat_FromDouble(static_cast<double>(record.since) / 1e9) : Py_NewRef(Py_None),
        "woken_by", id_or_none(record.waker), "cancelled_by", id_or_none(record.canceller),
        "cancel_kind", cancel_kind);
}

}  // namespace penstock::py
