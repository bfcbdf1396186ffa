// Making types and reading arguments.
#pragma once

#include <cstring>

#include "py/python.h"
#include "py/ref.h"

namespace penstock::py {

// Makes the type of `spec`, keeps it in `slot` (a new reference) and adds it to `module`.
inline bool add_type(PyObject* module, PyType_Spec& spec, PyObject* base,
                     PyTypeObject*& slot) noexcept {
    PyObject* made = PyType_FromModuleAndSpec(module, &spec, base);
    if (made == nullptr) return false;
    slot = reinterpret_cast<PyTypeObject*>(made);
    return PyModule_AddType(module, slot) == 0;
}

// For instances that don't come from tp_alloc, which alone makes CPython 3.14's inline values; and
// free lists can't renew them. A dict of their own costs nothing until somebody sets an attribute.
inline void without_inline_values([[maybe_unused]] PyTypeObject* type) noexcept {
#if PY_VERSION_HEX >= 0x030E0000
    type->tp_flags &= ~static_cast<unsigned long>(Py_TPFLAGS_INLINE_VALUES);
#endif
}

// tp_dealloc of a type whose instances kClear empties, and which keeps none of them for later.
template <inquiry kClear>
void clear_and_free(PyObject* self) {
    PyObject_GC_UnTrack(self);
    kClear(self);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

// What a method returns that returns None: nullptr where an exception is set.
inline PyObject* none_if(bool done) noexcept { return done ? Py_NewRef(Py_None) : nullptr; }

// type(object).__name__
inline const char* type_name(PyObject* object) noexcept {
    const char* full = Py_TYPE(object)->tp_name;
    const char* dot = std::strrchr(full, '.');
    return dot != nullptr ? dot + 1 : full;
}

template <class Function>
PyCFunction method(Function* function) noexcept {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

inline Py_ssize_t keyword_count(PyObject* names) noexcept {
    return names != nullptr ? PyTuple_GET_SIZE(names) : 0;
}

// The keyword arguments of a METH_FASTCALL call, by interned name.
class Keywords {
public:
    Keywords(PyObject* const* args, Py_ssize_t count, PyObject* names) noexcept
        : values_(args + count), names_(names) {}
    Py_ssize_t count() const noexcept { return keyword_count(names_); }
    PyObject* name(Py_ssize_t index) const noexcept { return PyTuple_GET_ITEM(names_, index); }
    PyObject* value(Py_ssize_t index) const noexcept { return values_[index]; }
    bool is(Py_ssize_t index, PyObject* wanted) const noexcept {
        return name(index) == wanted || PyUnicode_Compare(name(index), wanted) == 0;
    }

private:
    PyObject* const* values_;
    PyObject* names_;
};

inline bool unexpected_keyword(const char* function, PyObject* name) noexcept {
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
    return false;
}

}  // namespace penstock::py
