#include "py/coroutine_function.h"

#include "py/types.h"

namespace penstock::py {
namespace {

struct CoroutineFunction {
    PyObject_HEAD vectorcallfunc vectorcall;
    FastFunction function;
    PyObject* module;
    PyObject* original;
    PyObject* reduce_prefix;  // "__reduce": what is ours to answer
    PyObject* weakrefs;
};

CoroutineFunction* as_function(PyObject* self) noexcept {
    return reinterpret_cast<CoroutineFunction*>(self);
}

PyObject* vectorcall(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names) {
    return as_function(self)->function(as_function(self)->module, args, PyVectorcall_NARGS(count),
                                       names);
}

PyObject* reduce(PyObject* self, PyObject*) {
    return PyObject_GetAttrString(as_function(self)->original, "__qualname__");
}

PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, "Pickled by name, as a function is."},
                         {nullptr, nullptr, 0, nullptr}};

PyObject* getattro(PyObject* self, PyObject* name) {
    if (PyUnicode_Tailmatch(name, as_function(self)->reduce_prefix, 0, PY_SSIZE_T_MAX, -1) == 1)
        return PyObject_GenericGetAttr(self, name);
    return PyObject_GetAttr(as_function(self)->original, name);
}

PyObject* repr(PyObject* self) { return PyObject_Repr(as_function(self)->original); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_function(self)->module);
    Py_VISIT(as_function(self)->original);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(as_function(self)->original);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if (as_function(self)->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
    Py_CLEAR(as_function(self)->module);
    Py_CLEAR(as_function(self)->reduce_prefix);
    clear(self);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CoroutineFunction, vectorcall), READONLY,
     nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CoroutineFunction, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                       {Py_tp_getattro, reinterpret_cast<void*>(getattro)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.CoroutineFunction", sizeof(CoroutineFunction), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                        Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* new_coroutine_function(State* state, FastFunction function, PyObject* original) noexcept {
    PyObject* made = PyObject_GC_New(PyObject, state->coroutine_function);
    if (made == nullptr) return nullptr;
    CoroutineFunction* self = as_function(made);
    self->vectorcall = vectorcall;
    self->function = function;
    self->module = Py_NewRef(state->module);
    self->original = Py_NewRef(original);
    self->reduce_prefix = PyUnicode_InternFromString("__reduce");
    self->weakrefs = nullptr;
    PyObject_GC_Track(made);
    if (self->reduce_prefix == nullptr) {
        Py_DECREF(made);
        return nullptr;
    }
    return made;
}

bool add_coroutine_function_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->coroutine_function);
}

}  // namespace penstock::py
