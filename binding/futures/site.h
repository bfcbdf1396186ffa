// Where Python code calls us from. No frame object is made for it, so it costs next to nothing.
#pragma once

#include <cstdint>

#include "futures/record.h"
#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

#if PY_VERSION_HEX < 0x030C0000
// 3.11 has no call for it yet: the head of its _PyInterpreterFrame, which is private to CPython.
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

inline const InterpreterFrame* current_frame(PyThreadState* thread) noexcept {
    return reinterpret_cast<const InterpreterFrame*>(thread->cframe->current_frame);
}

inline _Py_CODEUNIT* instructions(PyCodeObject* code) noexcept {
    return reinterpret_cast<_Py_CODEUNIT*>(code->co_code_adaptive);
}
#endif

// Sets state->knows_frames: whether what calling_site() reads is what Python itself says. Where
// it isn't, no site is told.
void probe_frames(State* state) noexcept;

// A new reference to the code object, or nullptr.
inline Site calling_site([[maybe_unused]] const State* state, PyThreadState* thread) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
#if PY_VERSION_HEX >= 0x030D0000
    auto* frame = thread->current_frame;
#else
    auto* frame = thread->cframe->current_frame;
#endif
    if (frame == nullptr) return {nullptr, 0};
    PyObject* code = PyUnstable_InterpreterFrame_GetCode(frame);
    if (code == nullptr || !PyCode_Check(code)) {
        Py_XDECREF(code);
        return {nullptr, 0};
    }
    return {code, PyUnstable_InterpreterFrame_GetLasti(frame)};
#else
    const InterpreterFrame* frame = state->knows_frames ? current_frame(thread) : nullptr;
    if (frame == nullptr) return {nullptr, 0};
    return {Py_NewRef(object(frame->code)),
            static_cast<std::int32_t>((frame->previous_instruction - instructions(frame->code)) *
                                      sizeof(_Py_CODEUNIT))};
#endif
}

}  // namespace penstock::py
