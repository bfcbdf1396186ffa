// How a class of Python's gets native methods: asyncio's Lock and its like are subclassed in
// Python, so that isinstance(), subclasses, copy and pickle are what they were, and keep their
// native part in a slot.
#pragma once

#include "py/coroutine_function.h"
#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// Where the slot `_native` lies: right behind what an instance of a plain class has. furnish()
// makes sure of it.
#if PY_VERSION_HEX >= 0x030C0000
constexpr std::size_t kNativeOffset = sizeof(PyObject);
#else
constexpr std::size_t kNativeOffset = sizeof(PyObject) + sizeof(PyObject*);  // weak references
#endif

inline PyObject* native_part(PyObject* primitive) noexcept {
    return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(primitive) + kNativeOffset);
}

// Of a native part, whose type is ours and final.
template <class Part>
State* state_of_part(const Part* part) noexcept {
    return state_of_exact_type(Py_TYPE(reinterpret_cast<PyObject*>(const_cast<Part*>(part))));
}

// Raises AttributeError: the __init__() of `owner` was not called.
void raise_no_part(PyObject* owner) noexcept;

// The native part of `owner`, borrowed; nullptr with AttributeError set where there is none.
template <class Part>
Part* part_of(PyObject* owner) noexcept {
    PyObject* part = native_part(owner);
    if (part == nullptr) [[unlikely]]
        raise_no_part(owner);
    return reinterpret_cast<Part*>(part);
}

// Of what an attribute is set to: false with AttributeError set where it is to be deleted.
bool check_not_deleted(PyObject* value) noexcept;

// The part of `owner`, which is an instance of `cls` and may be initialised again; borrowed.
// nullptr where there is none yet, with TypeError set where it is no instance.
PyObject* part_before(PyTypeObject* cls, PyObject* owner) noexcept;

// An `async def`; args[0] is the object.
struct CoroutineMethod {
    const char* name;
    FastFunction function;
    Py_ssize_t count = 1;   // of arguments, the object among them
    bool is_exact = false;  // calls other methods, which a subclass may have overridden
};

// What a class gets. Each table ends with a name that is nullptr.
struct PrimitiveMethods {
    const char* class_name;
    const CoroutineMethod* coroutines;
    PyMethodDef* methods;
    PyGetSetDef* attributes;
    PyTypeObject* State::*part;            // what `_native` is
    PyTypeObject* State::*slot = nullptr;  // where the class is remembered
};

extern const PrimitiveMethods lock_methods;
extern const PrimitiveMethods event_methods;
extern const PrimitiveMethods semaphore_methods;
extern const PrimitiveMethods bounded_semaphore_methods;
extern const PrimitiveMethods queue_methods;
extern const PrimitiveMethods stream_reader_methods;
extern const PrimitiveMethods stream_reader_protocol_methods;
extern const PrimitiveMethods stream_writer_methods;
extern const PrimitiveMethods task_group_methods;

// furnish(cls) -> cls: a class decorator, which finds the methods by the name of the class.
PyObject* furnish(PyObject* module, PyObject* cls);

}  // namespace penstock::py
