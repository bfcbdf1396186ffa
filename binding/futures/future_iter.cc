// What `await future` iterates: gives the future once, then its result.
#include "futures/future_iter.h"
#include "futures/future.h"
#include "loop/loop.h"
#include "py/stop_iteration.h"
#include "py/trashcan.h"
#include "py/types.h"

namespace penstock::py {
namespace {

struct FutureIter {
    PyObject_HEAD PyObject* future;  // nullptr once it has given its result
    State* state;
};

FutureIter* as_iter(PyObject* self) noexcept { return reinterpret_cast<FutureIter*>(self); }

PySendResult step(PyObject* self, PyObject** result) noexcept {
    FutureIter* iter = as_iter(self);
    if (iter->future == nullptr) {
        *result = nullptr;
        return PYGEN_ERROR;  // with nothing set: an iterator that has ended
    }
    BaseFuture* future = as_base(iter->future);
    if (future->state == kPending) {
        if (future->blocking) {
            PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
            *result = nullptr;
            return PYGEN_ERROR;
        }
        future->blocking = 1;
        *result = Py_NewRef(iter->future);
        return PYGEN_NEXT;
    }
    Ref<> done = Ref<>::steal(std::exchange(iter->future, nullptr));
    *result = future_result(iter->state, as_base(done.get()));
    return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

PySendResult am_send(PyObject* self, PyObject*, PyObject** result) {
    PySendResult sent = step(self, result);
    if (sent == PYGEN_ERROR && !PyErr_Occurred()) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    return sent;
}

PyObject* next(PyObject* self) {
    PyObject* result;
    switch (step(self, &result)) {
        case PYGEN_NEXT: return result;
        case PYGEN_RETURN: return return_from_iter(as_iter(self)->state, result);
        default: return nullptr;
    }
}

PyObject* send(PyObject* self, PyObject*) {
    PyObject* result;
    switch (step(self, &result)) {
        case PYGEN_NEXT: return result;
        case PYGEN_RETURN: return stop_with(result);
        default:
            if (!PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
            return nullptr;
    }
}

PyObject* throw_into(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    Py_CLEAR(as_iter(self)->future);
    return raise_thrown(args, count);
}

PyObject* close(PyObject* self, PyObject*) {
    Py_CLEAR(as_iter(self)->future);
    Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_iter(self)->future);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(as_iter(self)->future);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    State* state = as_iter(self)->state;
    if (!clear_in_trashcan(state, self, dealloc, [self] { Py_CLEAR(as_iter(self)->future); }))
        return;
    if (state->free_iters.push(self)) return;
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {{"send", send, METH_O, nullptr},
                         {"throw", method(throw_into), METH_FASTCALL, nullptr},
                         {"close", close, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                       {Py_tp_iternext, reinterpret_cast<void*>(next)},
                       {Py_am_send, reinterpret_cast<void*>(am_send)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.FutureIter", sizeof(FutureIter), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* raise_thrown(PyObject* const* args, Py_ssize_t count) noexcept {
    if (count < 1 || count > 3) {
        PyErr_SetString(PyExc_TypeError, "throw() takes 1 to 3 arguments");
        return nullptr;
    }
#if PY_VERSION_HEX >= 0x030C0000
    if (count > 1 &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "the (type, exc, tb) signature of throw() is deprecated, use the single-arg "
                     "signature instead.",
                     1) < 0)
        return nullptr;
#endif
    PyObject* type = args[0];
    PyObject* value = count > 1 && args[1] != Py_None ? args[1] : nullptr;
    PyObject* traceback = count > 2 && args[2] != Py_None ? args[2] : nullptr;
    if (traceback != nullptr && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return nullptr;
    }
    if (PyExceptionInstance_Check(type)) {
        if (value != nullptr) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return nullptr;
        }
        value = type;
        type = object(Py_TYPE(value));
    } else if (!PyExceptionClass_Check(type)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes deriving BaseException or instances of such a "
                     "class, not %.200s",
                     Py_TYPE(type)->tp_name);
        return nullptr;
    }
    if (traceback != nullptr)
        PyErr_Restore(Py_NewRef(type), Py_XNewRef(value), Py_NewRef(traceback));
    else
        PyErr_SetObject(type, value);
    return nullptr;
}

PyObject* await_future(PyObject* self) {
    BaseFuture* future = as_base(self);
    if (future->loop == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
        return nullptr;
    }
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return nullptr;
    PyObject* made = state->free_iters.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, state->future_iter);
        if (made == nullptr) return nullptr;
        as_iter(made)->state = state;
    }
    as_iter(made)->future = Py_NewRef(self);
    PyObject_GC_Track(made);
    return made;
}

bool add_future_iter_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->future_iter);
}

}  // namespace penstock::py
