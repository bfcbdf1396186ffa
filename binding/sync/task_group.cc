#include "sync/task_group.h"

#include "futures/future.h"
#include "futures/task.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "py/context.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/done_callback.h"
#include "sync/part_attributes.h"

namespace penstock::py {
namespace {

// The attributes that asyncio's group has, by their names there; nullptr stands for None.
struct GroupPart {
    PyObject_HEAD State* state;
    PyObject *loop, *parent_task, *tasks, *errors, *base_error, *on_completed_fut;
    bool entered, exiting, aborting, parent_cancel_requested;
    DoneCallback* callback;  // of the tasks that run, which hold it; nullptr where none does
};

GroupPart* as_part(PyObject* object) noexcept { return reinterpret_cast<GroupPart*>(object); }

bool has_tasks(const GroupPart* part) noexcept {
    return part->tasks != nullptr && PySet_CheckExact(part->tasks) &&
           PySet_GET_SIZE(part->tasks) > 0;
}

// ---- a task is done ---------------------------------------------------------------------------

// It is the group's no more; whoever waits for the last one goes on.
void leave(Loop* loop, GroupPart* part, PyObject* task) noexcept {
    if (part->tasks == nullptr || !PySet_CheckExact(part->tasks)) return;
    if (PySet_Discard(part->tasks, task) < 0) PyErr_Clear();
    if (part->on_completed_fut == nullptr || PySet_GET_SIZE(part->tasks) > 0) return;
    Ref<> completed = Ref<>::borrow(part->on_completed_fut);
    complete_with(loop, completed.get(), Py_NewRef(Py_True));
}

// asyncio's own `_on_task_done`, as the callback that it is there.
void call_stock(Loop* loop, DoneCallback* self, PyObject* task) noexcept {
    Ref<> bound = Ref<>::steal(PyMethod_New(self->state->group_callback, self->owner));
    Handle* handle = bound ? new_handle(loop, bound.get(), &task, 1, self->context) : nullptr;
    if (handle == nullptr) {
        report_exception(loop, "A TaskGroup could not be told of a failed task", take_exception(),
                         {{"task", task}});
        return;
    }
    track(handle);
    run_handle(handle);
    Py_DECREF(object(handle));
}

void child_done(Loop* loop, DoneCallback* self, PyObject* child) noexcept {
    if (self->owner == nullptr) return;  // the collector has come
    leave(loop, as_part(self->part), child);
    if (as_base(child)->exception != nullptr) call_stock(loop, self, child);
}

void forget(DoneCallback* self) noexcept {
    GroupPart* part = as_part(self->part);
    if (part != nullptr && part->callback == self) part->callback = nullptr;
}

constexpr DoneCallbackKind kTaskDone = {.qualified_name = "TaskGroup._on_task_done",
                                        .source = nullptr,
                                        .child_done = child_done,
                                        .forget = forget};

// ---- create_task() ----------------------------------------------------------------------------

// The arguments that are known; false where there are others.
bool read_arguments(const State* state, PyObject* const* args, Py_ssize_t count, PyObject* names,
                    PyObject*& name, PyObject*& context) noexcept {
    if (count != 1) return false;
    Keywords given(args, count, names);
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        PyObject* value = given.value(i);
        if (given.is(i, state->str_name) && (value == Py_None || PyUnicode_CheckExact(value)))
            name = value;
        else if (given.is(i, state->str_context) && (value == Py_None || is_context(value)))
            context = value;
        else
            return false;
    }
    return true;
}

// The loop that its tasks are to be made on natively; nullptr where asyncio's code has to see to
// it, or to the error that it is to make one.
Loop* find_loop(PyObject* group, const GroupPart* part) noexcept {
    State* state = part->state;
    if (!part->entered || part->aborting || (part->exiting && !has_tasks(part)) ||
        part->tasks == nullptr || !PySet_CheckExact(part->tasks))
        return nullptr;
    Loop* loop = find_native_loop(state, part->loop);
    if (loop == nullptr || loop->is_debug || !makes_tasks_natively(loop)) return nullptr;
    bool is_ours =
        _PyType_Lookup(Py_TYPE(group), state->str__on_task_done) == state->group_callback;
    return is_ours ? loop : nullptr;
}

// What is to stand in the callbacks of one task more: a new reference. Python code that it calls
// runs in the context of this call, as it would in asyncio.
Ref<DoneCallback> callback_for(Loop* loop, PyObject* group, GroupPart* part) noexcept {
    State* state = part->state;
    Ref<> context = Ref<>::steal(
        Scratch::snapshot(current_thread(loop), state->bare_context, state->empty_vars));
    if (!context) return {};
    PyObject* awaiter = awaiter_from(state, part->parent_task);
    DoneCallback* kept = part->callback;
    if (kept == nullptr || kept->owner != group || kept->context != context.get() ||
        kept->awaiter != awaiter) {
        kept = new_done_callback(
            state, &kTaskDone,
            {.owner = group, .part = object(part), .awaiter = awaiter, .context = context.get()});
        part->callback = kept;
        return Ref<DoneCallback>::steal(kept);
    }
    return Ref<DoneCallback>::borrow(kept);
}

PyObject* create_task_natively(Loop* loop, PyObject* group, GroupPart* part, PyObject* coro,
                               PyObject* name, PyObject* context) noexcept {
    Ref<> held = Ref<>::borrow(object(part));
    Ref<DoneCallback> callback = callback_for(loop, group, part);
    if (!callback || !expect_children(callback.get(), 1)) return nullptr;
    Ref<> task = Ref<>::steal(new_task(loop, coro, name, context, false));
    if (!task || !add_to_child(callback.get(), as_base(task.get())) ||
        PySet_Add(part->tasks, task.get()) < 0)
        return nullptr;
    return task.release();
}

PyObject* create_task(PyObject* group, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    GroupPart* part = part_of<GroupPart>(group);
    if (part == nullptr) return nullptr;
    PyObject *name = nullptr, *context = nullptr;
    Loop* loop = find_loop(group, part);
    if (loop != nullptr && read_arguments(part->state, args, count, names, name, context))
        [[likely]]
        return create_task_natively(loop, group, part, args[0], name, context);
    Ref<> stock =
        Ref<>::steal(PyObject_GetAttr(part->state->stock_group, part->state->str_create_task));
    Ref<> bound = Ref<>::steal(stock ? PyMethod_New(stock.get(), group) : nullptr);
    return bound ? PyObject_Vectorcall(bound.get(), args, static_cast<std::size_t>(count), names)
                 : nullptr;
}

// ---- attributes -------------------------------------------------------------------------------

template <bool GroupPart::*kField>
int set_flag(PyObject* group, PyObject* value, void*) {
    GroupPart* part = part_of<GroupPart>(group);
    int is_true = part == nullptr ? -1 : value != nullptr ? PyObject_IsTrue(value) : 0;
    if (is_true < 0) return -1;
    part->*kField = is_true != 0;
    return 0;
}

// As asyncio's attributes, they can be deleted; false then.
template <bool GroupPart::*kField>
constexpr PyGetSetDef deletable_flag(const char* name) noexcept {
    return {name, get_part_flag<kField>, set_flag<kField>, nullptr, nullptr};
}

PyGetSetDef attributes[] = {
    object_attribute<&GroupPart::loop>("_loop"),
    object_attribute<&GroupPart::parent_task>("_parent_task"),
    object_attribute<&GroupPart::tasks>("_tasks"),
    object_attribute<&GroupPart::errors>("_errors"),
    object_attribute<&GroupPart::base_error>("_base_error"),
    object_attribute<&GroupPart::on_completed_fut>("_on_completed_fut"),
    deletable_flag<&GroupPart::entered>("_entered"),
    deletable_flag<&GroupPart::exiting>("_exiting"),
    deletable_flag<&GroupPart::aborting>("_aborting"),
    deletable_flag<&GroupPart::parent_cancel_requested>("_parent_cancel_requested"),
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

#if PY_VERSION_HEX >= 0x030E0000
#define PENSTOCK_KEYWORDS "**kwargs"
#else
#define PENSTOCK_KEYWORDS "*, name=None, context=None"
#endif

PyMethodDef methods[] = {{"create_task", method(create_task), kFast,
                          "create_task($self, coro, " PENSTOCK_KEYWORDS ")\n--\n\n"
                          "Create a new task in this group and return it.\n\n"
                          "Similar to `asyncio.create_task`. Raises RuntimeError where the group "
                          "has not been\nentered, is finished or is shutting down."},
                         {nullptr, nullptr, 0, nullptr}};

constexpr CoroutineMethod coroutines[] = {{nullptr, nullptr}};

// ---- type -------------------------------------------------------------------------------------

PyObject* new_part(PyTypeObject* type, PyObject*, PyObject*) {
    Ref<> made = Ref<>::steal(type->tp_alloc(type, 0));
    if (!made) return nullptr;
    GroupPart* part = as_part(made.get());
    part->state = state_of_exact_type(type);
    part->tasks = PySet_New(nullptr);
    part->errors = PyList_New(0);
    return part->tasks != nullptr && part->errors != nullptr ? made.release() : nullptr;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    GroupPart* part = as_part(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(part->loop);
    Py_VISIT(part->parent_task);
    Py_VISIT(part->tasks);
    Py_VISIT(part->errors);
    Py_VISIT(part->base_error);
    Py_VISIT(part->on_completed_fut);
    return 0;
}

int clear(PyObject* self) {
    GroupPart* part = as_part(self);
    Py_CLEAR(part->loop);
    Py_CLEAR(part->parent_task);
    Py_CLEAR(part->tasks);
    Py_CLEAR(part->errors);
    Py_CLEAR(part->base_error);
    Py_CLEAR(part->on_completed_fut);
    return 0;
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a TaskGroup.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_part)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(clear_and_free<clear>)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.GroupPart", sizeof(GroupPart), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

}  // namespace

const PrimitiveMethods task_group_methods = {"TaskGroup", coroutines, methods, attributes,
                                             &State::group_part};

bool add_task_group_types(PyObject* module, State* state) {
    state->group_callback = PyObject_GetAttr(state->stock_group, state->str__on_task_done);
    return state->group_callback != nullptr && add_type(module, spec, nullptr, state->group_part);
}

}  // namespace penstock::py
