// Returning a value from a tp_iternext. From 3.12 on `await` reaches an awaitable of another make
// through tp_iternext, so that every result costs a StopIteration (107 to 243 ns): we keep one
// and use it again as long as nobody else has got hold of it.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// Takes over `value`; always returns nullptr, as tp_iternext has to.
inline PyObject* return_from_iter(State* state, PyObject* value) noexcept {
    if (value == Py_None) {  // immortal where it matters: an ended iterator means None
        Py_DECREF(value);
        return nullptr;
    }
#if PY_VERSION_HEX >= 0x030C0000
    auto* kept = reinterpret_cast<PyStopIterationObject*>(state->stop_iteration);
    if (kept == nullptr || Py_REFCNT(object(kept)) != 1) {
        PyObject* made = PyObject_CallNoArgs(PyExc_StopIteration);
        if (made == nullptr) {
            Py_DECREF(value);
            return nullptr;
        }
        Py_XSETREF(state->stop_iteration, made);
        kept = reinterpret_cast<PyStopIterationObject*>(made);
    }
    // What it held may run Python code as it dies, which may come here: it finds `kept` in use.
    PyObject* raised = Py_NewRef(object(kept));
    if (kept->traceback != nullptr || kept->context != nullptr || kept->cause != nullptr ||
        kept->dict != nullptr) {
        Py_CLEAR(kept->traceback);
        Py_CLEAR(kept->context);
        Py_CLEAR(kept->cause);
        Py_CLEAR(kept->dict);
    }
    Py_XSETREF(kept->value, value);
    PyErr_SetRaisedException(raised);
#else
    // 3.11 asks am_send first; this is for those who iterate by hand.
    (void)state;
    PyObject* made = PyObject_CallOneArg(PyExc_StopIteration, value);
    Py_DECREF(value);
    if (made != nullptr) raise_exception(made);
#endif
    return nullptr;
}

// The same for a send() that Python code calls, with a StopIteration that is whole. Takes over
// `value`; returns nullptr.
inline PyObject* stop_with(PyObject* value) noexcept {
    PyObject* made = value == Py_None ? PyObject_CallNoArgs(PyExc_StopIteration)
                                      : PyObject_CallOneArg(PyExc_StopIteration, value);
    Py_DECREF(value);
    if (made != nullptr) raise_exception(made);
    return nullptr;
}

// Lets go of the last value that was returned, once the turn is over.
inline void forget_returned_value(State* state) noexcept {
    auto* kept = reinterpret_cast<PyStopIterationObject*>(state->stop_iteration);
    if (kept != nullptr && kept->value != nullptr && kept->value != Py_None &&
        Py_REFCNT(object(kept)) == 1)
        Py_SETREF(kept->value, Py_NewRef(Py_None));
}

}  // namespace penstock::py
