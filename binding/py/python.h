// Python's C API, included in one way. Only binding/ includes this file.
#pragma once

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#error "penstock supports CPython 3.11 to 3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "penstock needs a CPython with the GIL: its loop relies on it for call_soon_threadsafe()"
#endif

namespace penstock::py {

constexpr bool kHas312 = PY_VERSION_HEX >= 0x030C0000;
constexpr bool kHas313 = PY_VERSION_HEX >= 0x030D0000;
constexpr bool kHas314 = PY_VERSION_HEX >= 0x030E0000;
constexpr bool kHas315 = PY_VERSION_HEX >= 0x030F0000;

template <class T>
PyObject* object(T* pointer) noexcept {
    return reinterpret_cast<PyObject*>(pointer);
}

// Whether an exception is pending in `thread`, the calling one, which PyErr_Occurred() must find.
inline bool has_exception(const PyThreadState* thread) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    return thread->current_exception != nullptr;
#else
    return thread->curexc_type != nullptr;
#endif
}

// The pending exception as one object with its traceback, or nullptr; nothing is pending after.
inline PyObject* take_exception() noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == nullptr) return nullptr;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != nullptr) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
#endif
}

// Raises `exception`, whose reference it takes over.
inline void raise_exception(PyObject* exception) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef(object(Py_TYPE(exception))), exception,
                  PyException_GetTraceback(exception));
#endif
}

}  // namespace penstock::py
