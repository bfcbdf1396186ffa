// Private attributes of asyncio's classes that lie in the native part and that programs look at,
// and set, all the same. A field that is nullptr stands for None.
#pragma once

#include "sync/primitive.h"

namespace penstock::py {

template <class Part, class Value>
Part part_class(Value Part::*);
template <auto kField>
using PartOf = decltype(part_class(kField));

template <auto kField>
PyObject* get_part_object(PyObject* owner, void*) {
    auto* part = part_of<PartOf<kField>>(owner);
    if (part == nullptr) return nullptr;
    return Py_NewRef(part->*kField != nullptr ? part->*kField : Py_None);
}
template <auto kField>
int set_part_object(PyObject* owner, PyObject* value, void*) {
    auto* part = part_of<PartOf<kField>>(owner);
    if (part == nullptr) return -1;
    Py_XSETREF(part->*kField, value != Py_None ? Py_XNewRef(value) : nullptr);
    return 0;
}

template <auto kField>
PyObject* get_part_flag(PyObject* owner, void*) {
    auto* part = part_of<PartOf<kField>>(owner);
    return part != nullptr ? PyBool_FromLong(part->*kField) : nullptr;
}
template <auto kField>
int set_part_flag(PyObject* owner, PyObject* value, void*) {
    auto* part = part_of<PartOf<kField>>(owner);
    if (part == nullptr || !check_not_deleted(value)) return -1;
    int is_true = PyObject_IsTrue(value);
    if (is_true < 0) return -1;
    part->*kField = is_true != 0;
    return 0;
}

template <auto kField>
constexpr PyGetSetDef object_attribute(const char* name) noexcept {
    return {name, get_part_object<kField>, set_part_object<kField>, nullptr, nullptr};
}
template <auto kField>
constexpr PyGetSetDef flag_attribute(const char* name) noexcept {
    return {name, get_part_flag<kField>, set_part_flag<kField>, nullptr, nullptr};
}

}  // namespace penstock::py
