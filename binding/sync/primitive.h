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
};

extern const PrimitiveMethods lock_methods;
extern const PrimitiveMethods event_methods;
extern const PrimitiveMethods semaphore_methods;
extern const PrimitiveMethods bounded_semaphore_methods;
extern const PrimitiveMethods queue_methods;

// furnish(cls) -> cls: a class decorator, which finds the methods by the name of the class.
PyObject* furnish(PyObject* module, PyObject* cls);

}  // namespace penstock::py
