#include "sync/coroutine_iter.h"

#include "py/types.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

struct CoroutineIter {
    PyObject_HEAD PyObject* coroutine;
};

PyObject*& coroutine_of(PyObject* self) noexcept {
    return reinterpret_cast<CoroutineIter*>(self)->coroutine;
}
State* state_of_iter(PyObject* self) noexcept { return as_coroutine(coroutine_of(self))->state; }

PySendResult am_send(PyObject* self, PyObject* value, PyObject** result) {
    return PyIter_Send(coroutine_of(self), value, result);
}
PyObject* next(PyObject* self) { return coroutine_next(coroutine_of(self)); }

PyObject* send(PyObject* self, PyObject* value) {
    return PyObject_CallMethodOneArg(coroutine_of(self), state_of_iter(self)->str_send, value);
}
PyObject* throw_into(PyObject* self, PyObject* args) {
    Ref<> bound =
        Ref<>::steal(PyObject_GetAttr(coroutine_of(self), state_of_iter(self)->str_throw_));
    return bound ? PyObject_CallObject(bound.get(), args) : nullptr;
}
PyObject* close(PyObject* self, PyObject*) {
    return PyObject_CallMethodNoArgs(coroutine_of(self), state_of_iter(self)->str_close);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(coroutine_of(self));
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(coroutine_of(self));
    return 0;
}

PyMethodDef methods[] = {{"send", send, METH_O, nullptr},
                         {"throw", throw_into, METH_VARARGS, nullptr},
                         {"close", close, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("Iterates over a native coroutine.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(clear_and_free<clear>)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_am_send, reinterpret_cast<void*>(am_send)},
                       {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                       {Py_tp_iternext, reinterpret_cast<void*>(next)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.CoroutineIter", sizeof(CoroutineIter), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* coroutine_await(PyObject* coroutine, PyObject*) {
    PyObject* made = PyObject_GC_New(PyObject, as_coroutine(coroutine)->state->coroutine_iter);
    if (made == nullptr) return nullptr;
    coroutine_of(made) = Py_NewRef(coroutine);
    PyObject_GC_Track(made);
    return made;
}

bool add_coroutine_iter_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->coroutine_iter);
}

}  // namespace penstock::py
