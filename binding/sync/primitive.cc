#include "sync/primitive.h"

#include <array>
#include <cstring>

#include "py/ref.h"
#include "py/types.h"

namespace penstock::py {
namespace {

// Only __init__() sets it, to what it has made; nobody reads it, or takes it away.
int set_native(PyObject* self, PyObject* value, void* closure) {
    const auto* methods = static_cast<const PrimitiveMethods*>(closure);
    State* state = value != nullptr ? find_state(Py_TYPE(value)) : nullptr;
    if (state == nullptr || Py_TYPE(value) != state->*methods->part) {
        PyErr_Format(PyExc_AttributeError, "_native of %s can't be changed", methods->class_name);
        return -1;
    }
    PyObject* old = native_part(self);
    *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(self) + kNativeOffset) = Py_NewRef(value);
    Py_XDECREF(old);
    return 0;
}

template <const PrimitiveMethods& kMethods>
PyGetSetDef native_attribute = {"_native", nullptr, set_native, nullptr,
                                const_cast<PrimitiveMethods*>(&kMethods)};

struct Furniture {
    const PrimitiveMethods* methods;
    PyGetSetDef* native;
};

template <const PrimitiveMethods&... kMethods>
constexpr std::array<Furniture, sizeof...(kMethods)> furniture = {
    Furniture{&kMethods, &native_attribute<kMethods>}...};

constexpr auto& kAll =
    furniture<lock_methods, event_methods, semaphore_methods, bounded_semaphore_methods,
              queue_methods, stream_reader_methods, stream_reader_protocol_methods,
              stream_writer_methods, task_group_methods>;

const Furniture* find_methods(const char* class_name) noexcept {
    for (const Furniture& each : kAll)
        if (std::strcmp(each.methods->class_name, class_name) == 0) return &each;
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
    // A base that is furnished has hidden it.
    if (Py_TYPE(slot.get()) == &PyGetSetDescr_Type &&
        reinterpret_cast<PyGetSetDescrObject*>(slot.get())->d_getset->set == set_native)
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

void raise_no_part(PyObject* owner) noexcept {
    PyErr_Format(PyExc_AttributeError, "%s.__init__() was not called", type_name(owner));
}

bool check_not_deleted(PyObject* value) noexcept {
    if (value == nullptr) PyErr_SetString(PyExc_AttributeError, "the attribute can't be deleted");
    return value != nullptr;
}

PyObject* part_before(PyTypeObject* cls, PyObject* owner) noexcept {
    if (cls != nullptr && PyObject_TypeCheck(owner, cls)) return native_part(owner);
    PyErr_Format(PyExc_TypeError, "%s has no native part", type_name(owner));
    return nullptr;
}

PyObject* furnish(PyObject* module, PyObject* cls) {
    if (!PyType_Check(cls)) return PyErr_Format(PyExc_TypeError, "a class was expected");
    auto* type = reinterpret_cast<PyTypeObject*>(cls);
    const Furniture* furnished = find_methods(type->tp_name);
    if (furnished == nullptr || !check_slot(type)) return nullptr;
    const PrimitiveMethods* found = furnished->methods;
    if (!set(type, "_native", Ref<>::steal(PyDescr_NewGetSet(type, furnished->native))))
        return nullptr;
    for (const CoroutineMethod* each = found->coroutines; each->name != nullptr; ++each)
        if (!add_coroutine(state_of(module), type, *each)) return nullptr;
    for (PyMethodDef* each = found->methods; each->ml_name != nullptr; ++each)
        if (!set(type, each->ml_name, Ref<>::steal(PyDescr_NewMethod(type, each)))) return nullptr;
    for (PyGetSetDef* each = found->attributes; each->name != nullptr; ++each)
        if (!set(type, each->name, Ref<>::steal(PyDescr_NewGetSet(type, each)))) return nullptr;
    if (found->slot != nullptr)
        Py_XSETREF(state_of(module)->*found->slot, reinterpret_cast<PyTypeObject*>(Py_NewRef(cls)));
    return Py_NewRef(cls);
}

}  // namespace penstock::py
