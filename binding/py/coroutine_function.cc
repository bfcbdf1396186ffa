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
    PyTypeObject* owner;      // of a method
    Py_ssize_t count;
    bool is_exact;
    PyObject* weakrefs;
};

CoroutineFunction* as_function(PyObject* self) noexcept {
    return reinterpret_cast<CoroutineFunction*>(self);
}

PyObject* vectorcall(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names) {
    CoroutineFunction* called = as_function(self);
    Py_ssize_t given = PyVectorcall_NARGS(count);
    if (called->owner != nullptr) {
        if (given < 1 || (Py_TYPE(args[0]) != called->owner &&
                          (called->is_exact || !PyObject_TypeCheck(args[0], called->owner))))
            return PyObject_Vectorcall(called->original, args, count, names);
        if (called->count >= 0 && (given != called->count || names != nullptr))
            return PyObject_Vectorcall(called->original, args, count, names);
    }
    return called->function(called->module, args, given, names);
}

PyObject* bind_method(PyObject* self, PyObject* instance, PyObject*) {
    return instance != nullptr && instance != Py_None ? PyMethod_New(self, instance)
                                                      : Py_NewRef(self);
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
    Py_VISIT(object(as_function(self)->owner));
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(as_function(self)->original);
    Py_CLEAR(as_function(self)->owner);
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
                       {Py_tp_descr_get, reinterpret_cast<void*>(bind_method)},
                       {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                       {Py_tp_getattro, reinterpret_cast<void*>(getattro)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.CoroutineFunction", sizeof(CoroutineFunction), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                        Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* new_coroutine_function(State* state, FastFunction function, PyObject* original,
                                 CoroutineFunctionOptions options) noexcept {
    PyObject* made = PyObject_GC_New(PyObject, state->coroutine_function);
    if (made == nullptr) return nullptr;
    CoroutineFunction* self = as_function(made);
    self->vectorcall = vectorcall;
    self->function = function;
    self->module = Py_NewRef(state->module);
    self->original = Py_NewRef(original);
    self->reduce_prefix = PyUnicode_InternFromString("__reduce");
    self->owner = reinterpret_cast<PyTypeObject*>(Py_XNewRef(object(options.owner)));
    self->count = options.count;
    self->is_exact = options.is_exact;
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
