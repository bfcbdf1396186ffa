#include "sync/gathering.h"

#include <cstring>

#include "futures/future.h"
#include "futures/task.h"
#include "loop/loop.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/trashcan.h"
#include "py/types.h"

namespace penstock::py {
namespace {

// _GatheringFuture(children, *, loop)
int init(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* const keywords[] = {"children", "loop", nullptr};
    PyObject *children, *loop;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O$O:_GatheringFuture",
                                     const_cast<char**>(keywords), &children, &loop))
        return -1;
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return -1;
    Ref<> none = Ref<>::steal(PyTuple_New(0));
    Ref<> given = Ref<>::steal(PyDict_New());
    if (!none || !given || PyDict_SetItem(given.get(), state->str_loop, loop) < 0) return -1;
    if (state->base_future->tp_init(self, none.get(), given.get()) < 0) return -1;
    Py_XSETREF(as_gathering(self)->children, Py_NewRef(children));
    as_gathering(self)->is_cancel_requested = false;
    return 0;
}

PyObject* cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return nullptr;
    static constexpr const char* kNames[] = {"msg"};
    PyObject* given[] = {Py_None};
    if (!bind({"cancel", kNames, 1, 0}, args, count, names, given)) return nullptr;
    Gathering* outer = as_gathering(self);
    if (outer->state != kPending || outer->children == nullptr) Py_RETURN_FALSE;
    Ref<> children = Ref<>::steal(PyObject_GetIter(outer->children));
    if (!children) return nullptr;
    bool is_any = false;
    while (Ref<> child = Ref<>::steal(PyIter_Next(children.get()))) {
        int was_cancelled = cancel_awaited(state, child.get(), given[0]);
        if (was_cancelled < 0) return nullptr;
        is_any = is_any || was_cancelled > 0;
    }
    if (PyErr_Occurred() != nullptr) return nullptr;
    // The children's end is a cancellation then, with `return_exceptions` too.
    if (is_any) outer->is_cancel_requested = true;
    return PyBool_FromLong(is_any);
}

PyObject* get_cancel_requested(PyObject* self, void*) {
    return PyBool_FromLong(as_gathering(self)->is_cancel_requested);
}

int set_cancel_requested(PyObject* self, PyObject* value, void*) {
    int is_true = value != nullptr ? PyObject_IsTrue(value) : 0;
    if (is_true < 0) return -1;
    as_gathering(self)->is_cancel_requested = is_true != 0;
    return 0;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_gathering(self)->children);
    return visit_base_fields(self, visit, arg);
}

int clear(PyObject* self) {
    Py_CLEAR(as_gathering(self)->children);
    clear_base_fields(as_base(self));
    clear_dict(self);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    // A subclass's dealloc has called the finalizer already.
    if (as_base(self)->log_tb && !PyObject_GC_IsFinalized(self))
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    PyObject_GC_UnTrack(self);
    auto clear_all = [self] {
        clear_instance(self);
        Py_CLEAR(as_gathering(self)->children);
        clear_base_fields(as_base(self));
    };
    State* state = state_of_exact_type(type);
    if (state == nullptr)
        clear_all();  // a subclass, whose own dealloc has seen to the depth
    else if (!clear_in_trashcan(state, self, dealloc, clear_all))
        return;
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {{"cancel", method(cancel), kFast,
                          "cancel($self, msg=None)\n--\n\nCancel the children that are not done; "
                          "whether there were any."},
                         {nullptr, nullptr, 0, nullptr}};

PyMemberDef members[] = {{"_children", T_OBJECT, offsetof(Gathering, children), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"_cancel_requested", get_cancel_requested, set_cancel_requested, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The future of a gather().")},
                       {Py_tp_init, reinterpret_cast<void*>(init)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {Py_tp_getset, attributes},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core._GatheringFuture", sizeof(Gathering), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

Gathering* new_gathering(Loop* loop, Py_ssize_t count) noexcept {
    Ref<> children = Ref<>::steal(PyList_New(count));
    if (!children) return nullptr;
    PyObject_GC_UnTrack(children.get());
    PyObject* made = PyObject_GC_New(PyObject, loop->state->gathering);
    if (made == nullptr) return nullptr;
    std::memset(reinterpret_cast<char*>(made) + sizeof(PyObject), 0,
                sizeof(Gathering) - sizeof(PyObject));
    Gathering* outer = as_gathering(made);
    outer->loop = Py_NewRef(object(loop));
    outer->children = children.release();
    return outer;
}

bool add_gathering_type(PyObject* module, State* state) {
    Ref<> tasks = Ref<>::steal(PyImport_ImportModule("asyncio.tasks"));
    Ref<> stock =
        Ref<>::steal(tasks ? PyObject_GetAttrString(tasks.get(), "_GatheringFuture") : nullptr);
    Ref<> bases =
        Ref<>::steal(stock ? PyTuple_Pack(2, object(state->future), stock.get()) : nullptr);
    if (!bases || !add_type(module, spec, bases.get(), state->gathering)) return false;
    without_inline_values(state->gathering);
    return true;
}

}  // namespace penstock::py
