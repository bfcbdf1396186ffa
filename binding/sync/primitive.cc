#include "sync/primitive.h"

#include <cstring>

#include "py/ref.h"

namespace penstock::py {
namespace {

const PrimitiveMethods* const kAll[] = {&lock_methods, &event_methods, &semaphore_methods,
                                        &bounded_semaphore_methods, &queue_methods};

const PrimitiveMethods* find_methods(const char* class_name) noexcept {
    for (const PrimitiveMethods* each : kAll)
        if (std::strcmp(each->class_name, class_name) == 0) return each;
    PyErr_Format(PyExc_TypeError, "there are no native methods for %s", class_name);
    return nullptr;
}

bool check_slot(PyTypeObject* type) noexcept {
    Ref<> slot = Ref<>::steal(PyObject_GetAttrString(object(type), "_native"));
    if (!slot) return false;
    if (Py_TYPE(slot.get()) == &PyMemberDescr_Type &&
        static_cast<std::size_t>(
            reinterpret_cast<PyMemberDescrObject*>(slot.get())->d_member->offset) == kNativeOffset)
        return true;
    PyErr_Format(PyExc_TypeError, "the slot of %s is not where it is looked for", type->tp_name);
    return false;
}

bool set(PyTypeObject* type, const char* name, Ref<> descriptor) noexcept {
    return descriptor && PyObject_SetAttrString(object(type), name, descriptor.get()) == 0;
}

bool add_coroutine(State* state, PyTypeObject* type, const CoroutineMethod& method) noexcept {
    Ref<> original = Ref<>::steal(PyObject_GetAttrString(object(type->tp_base), method.name));
    if (!original) return false;
    Ref<> made = Ref<>::steal(new_coroutine_function(
        state, method.function, original.get(),
        {.owner = type, .is_exact = method.is_exact, .count = method.count}));
    return set(type, method.name, std::move(made));
}

}  // namespace

PyObject* furnish(PyObject* module, PyObject* cls) {
    if (!PyType_Check(cls)) return PyErr_Format(PyExc_TypeError, "a class was expected");
    auto* type = reinterpret_cast<PyTypeObject*>(cls);
    const PrimitiveMethods* found = find_methods(type->tp_name);
    if (found == nullptr || !check_slot(type)) return nullptr;
    for (const CoroutineMethod* each = found->coroutines; each->name != nullptr; ++each)
        if (!add_coroutine(state_of(module), type, *each)) return nullptr;
    for (PyMethodDef* each = found->methods; each->ml_name != nullptr; ++each)
        if (!set(type, each->ml_name, Ref<>::steal(PyDescr_NewMethod(type, each)))) return nullptr;
    for (PyGetSetDef* each = found->attributes; each->name != nullptr; ++each)
        if (!set(type, each->name, Ref<>::steal(PyDescr_NewGetSet(type, each)))) return nullptr;
    return Py_NewRef(cls);
}

}  // namespace penstock::py
