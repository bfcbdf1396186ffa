#include "futures/task.h"

#include <cstring>

#include "futures/future.h"
#include "loop/loop.h"
#include "py/arguments.h"
#include "py/trashcan.h"
#include "py/types.h"

namespace penstock::py {
namespace {

bool set_name(State* state, Task* task, PyObject* name) noexcept {
    PyObject* text;
    if (name == nullptr || name == Py_None)
        text = state->task_names.make(task->record.id);
    else
        text = PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
    if (text == nullptr) return false;
    Py_XSETREF(task->name, text);
    return true;
}

// Everything behind the object's head, of a task without a reference to anything.
bool fill(Loop* loop, Task* task, PyObject* coro, PyObject* name, PyObject* context) noexcept {
    State* state = loop->state;
    task->loop = Py_NewRef(object(loop));
    task->native = loop;
    task->coro = Py_NewRef(coro);
#if PY_VERSION_HEX >= 0x030E0000
    task->is_task = 1;
#endif
    task->record.id = ++state->tasks_made;
    task->record.parent = current_task_id(loop);
    PyThreadState* thread = current_thread(loop);
    record_spawn_site(state, task, thread);
    if (context != nullptr && context != Py_None) {
        task->context = Py_NewRef(context);
    } else {
        PyObject* snapshot = Scratch::snapshot(thread, state->bare_context, state->empty_vars);
        if (snapshot == nullptr) return false;
        if (state->bare_context) {
            task->vars = snapshot;
            task->context = Py_NewRef(Py_None);  // never NULL: the base's get_context() reads it
        } else {
            task->context = snapshot;
        }
    }
    if (!set_name(state, task, name)) return false;
    if (loop->is_debug) [[unlikely]] {
        task->source_tb = PyObject_CallNoArgs(state->extract_stack);
        if (task->source_tb == nullptr) return false;
    }
    task->log_destroy_pending = 1;
    return true;
}

void clear_native_fields(Task* task) noexcept {
    Py_CLEAR(task->waiter);
    Py_CLEAR(task->coro);
    Py_CLEAR(task->vars);
    Py_CLEAR(task->context);
    Py_CLEAR(task->name);
    clear_record(task->record);
}

// ---- type ------------------------------------------------------------------------------------

bool start_eagerly(Loop* loop, Task* task) noexcept;

// A task's first step. False with MemoryError set.
bool start_soon(Loop* loop, Task* task) noexcept {
    if (loop->reactor == nullptr) [[unlikely]]
        return true;  // closed meanwhile
    if (loop->reactor->try_push(make_word(WordKind::kTask, Py_NewRef(object(task))))) [[likely]]
        return true;
    Py_DECREF(object(task));
    task->log_destroy_pending = 0;
    PyErr_NoMemory();
    return false;
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return -1;
    static const char* const keywords[] = {"coro",    "loop",        "name",
                                           "context", "eager_start", nullptr};
    PyObject *coro, *loop_object = Py_None, *name = Py_None, *context = Py_None;
    int eager_start = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOp:Task", const_cast<char**>(keywords),
                                     &coro, &loop_object, &name, &context, &eager_start))
        return -1;
    Loop* loop =
        find_native_loop(state, loop_object == Py_None ? object(running_loop(state)) : loop_object);
    Task* task = as_task(self);
#if PY_VERSION_HEX >= 0x030F0000
    if (task->coro != nullptr) {
        PyErr_Format(PyExc_RuntimeError, "%s object is already initialized",
                     Py_TYPE(self)->tp_name);
        return -1;
    }
#endif
    if (task->record.wait_kind == WaitKind::kNoRoom) {
        PyErr_NoMemory();  // the loop's list goes through it
        return -1;
    }
    if (task->native != nullptr) unlink_task(task);
    task->native = nullptr;
    if (loop == nullptr || loop->reactor == nullptr) {
        // Another kind of loop: the base does it all.
        return state->base_task->tp_init(self, args, kwargs);
    }
    if (!check_coroutine(state, coro) || !check_thread(loop)) {
        // Nothing was started, so nothing is reported when it goes.
        task->log_destroy_pending = 0;
        return -1;
    }
    Ref<> text;
    if (name != Py_None && !PyUnicode_CheckExact(name)) {
        text = Ref<>::steal(PyObject_Str(name));
        if (!text) return -1;
        name = text.get();
    }
    if (context != Py_None && !is_context(context)) {
        PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected, got %.200s",
                     Py_TYPE(context)->tp_name);
        task->log_destroy_pending = 0;
        return -1;
    }
    // A second __init__ starts all over, as the base's does.
    clear_base_fields(as_base(self));
    clear_native_fields(task);
    task->state = kPending;
    task->log_tb = 0;
    task->blocking = 0;
    task->must_cancel = 0;
    task->cancels_requested = 0;
    if (!fill(loop, task, coro, name, context)) return -1;
    unlink_task(task);  // the name's __str__ may have called __init__ again
    link_task(loop, task);
    if (eager_start && loop->is_running) return start_eagerly(loop, task) ? 0 : -1;
    return start_soon(loop, task) ? 0 : -1;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Task* task = as_task(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(task->waiter);
    Py_VISIT(task->coro);
    Py_VISIT(task->vars);
    Py_VISIT(task->context);
    Py_VISIT(task->name);
    int stopped = visit_record(task->record, visit, arg);
    return stopped != 0 ? stopped : visit_base_fields(self, visit, arg);
}

int clear(PyObject* self) {
    unlink_task(as_task(self));
    clear_native_fields(as_task(self));
    clear_base_fields(as_base(self));
    clear_dict(self);
    return 0;
}

void dealloc(PyObject* self) {
    Task* task = as_task(self);
    PyTypeObject* type = Py_TYPE(self);
    bool has_news = task->log_tb || (task->state == kPending && task->log_destroy_pending);
    if (has_news && !PyObject_GC_IsFinalized(self))
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    PyObject_GC_UnTrack(self);
    unlink_task(task);
    auto clear_all = [self, task] {
        clear_instance(self);
        clear_native_fields(task);
        clear_base_fields(as_base(self));
    };
    State* state = state_of_exact_type(type);
    if (state == nullptr) {
        clear_all();  // a subclass, whose own dealloc has seen to the depth
    } else {
        bool keep = !PyObject_GC_IsFinalized(self);
        state->task_names.give_back(std::exchange(task->name, nullptr));
        if (!clear_in_trashcan(state, self, dealloc, clear_all)) return;
        if (keep && state->free_tasks.push(self)) return;
    }
    type->tp_free(self);
    Py_DECREF(object(type));
}

// The base wakes us so where it does not know our loop: see add_waiter().
PyObject* call(PyObject* self, PyObject*, PyObject*) {
    Loop* loop = native_loop(as_task(self));
    if (loop == nullptr) {
        PyErr_Format(PyExc_TypeError, "'%.200s' object is not callable", Py_TYPE(self)->tp_name);
        return nullptr;
    }
    push_task(loop, as_task(Py_NewRef(self)));
    Py_RETURN_NONE;
}

PyObject* cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    State* state = state_of_type(Py_TYPE(self));
    if (state == nullptr) return nullptr;
    static constexpr const char* kNames[] = {"msg"};
    PyObject* given[] = {Py_None};
    if (!bind({"cancel", kNames, 1, 0}, args, count, names, given)) return nullptr;
    PyObject* message = given[0];
    Task* task = as_task(self);
    if (task->loop == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "Task object is not initialized.");
        return nullptr;
    }
    task->log_tb = 0;
    if (task->state != kPending) Py_RETURN_FALSE;
    ++task->cancels_requested;
    Loop* running = running_loop(state);
    record_cancellation(state, task->record, running != nullptr ? current_task_id(running) : 0,
                        message);
    if (task->waiter != nullptr && !PyExceptionInstance_Check(task->waiter)) {
        int was_cancelled = cancel_awaited(state, task->waiter, message);
        if (was_cancelled < 0) return nullptr;
        if (was_cancelled) Py_RETURN_TRUE;
    }
    task->must_cancel = 1;
    Py_XSETREF(task->cancel_msg, Py_NewRef(message));
    Py_RETURN_TRUE;
}

PyObject* get_context(PyObject* self, PyObject*) {
    Task* task = as_task(self);
    Loop* loop = native_loop(task);
    // A task that asks from within gets the scratch context it runs in; holding on to it makes
    // it the task's own when the step ends.
    if (loop != nullptr && loop->in_scratch == task && task->vars != nullptr)
        return Py_NewRef(loop->scratch.context());
    if (!materialise_context(task)) return nullptr;
    return Py_NewRef(task->context != nullptr ? task->context : Py_None);
}

PyMethodDef methods[] = {
    {"cancel", method(cancel), kFast,
     "cancel($self, msg=None)\n--\n\nRequest that this task cancel itself (see "
     "asyncio.Task.cancel)."},
    {"result", future_result_method, METH_NOARGS,
     "result($self)\n--\n\nReturn the result of the task's coroutine."},
    {"done", future_done, METH_NOARGS, "done($self)\n--\n\nReturn True if the task is done."},
    {"get_context", get_context, METH_NOARGS,
     "get_context($self)\n--\n\nThe contextvars.Context that the task runs in."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_callbacks", future_callbacks, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_getset, attributes},
    {Py_tp_doc, const_cast<char*>("asyncio.Task, stepped natively (see asyncio.Task).")},
    {Py_tp_init, reinterpret_cast<void*>(init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_call, reinterpret_cast<void*>(call)},
    {Py_tp_methods, methods},
    {Py_am_await, reinterpret_cast<void*>(await_future)},
    {Py_tp_iter, reinterpret_cast<void*>(await_future)},
    {0, nullptr}};

PyType_Spec spec = {"penstock._core.Task", sizeof(Task), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};

// The first step at once, in the task's own context and as the current task, and then back to
// whoever made it.
bool start_eagerly(Loop* loop, Task* task) noexcept {
    if (!materialise_context(task)) return false;
    if (PyContext_Enter(task->context) < 0) {  // entered already: it will never run
        unlink_task(task);
        task->log_destroy_pending = 0;
        return false;
    }
    PyContext_Exit(task->context);
    Task* outer = loop->stepping;
    PyObject* entered = loop->entered;
    Ref<> current = read_current_task(loop);
    step_task(loop, as_task(Py_NewRef(object(task))));
    loop->stepping = outer;
    set_current_task(loop, current.get());
    loop->entered = entered;  // whoever has written another one takes it back
    if (task->state != kPending) Py_CLEAR(task->coro);  // as asyncio's eager tasks, from 3.12 on
    if (loop->failure == nullptr) return true;
    // KeyboardInterrupt or SystemExit of the first step belongs to whoever started it.
    raise_exception(std::exchange(loop->failure, nullptr));
    return false;
}

}  // namespace

int cancel_awaited(State* state, PyObject* awaited, PyObject* message) noexcept {
    Ref<> held = Ref<>::borrow(awaited);
    Ref<> held_message = Ref<>::borrow(message);
    Ref<> keyword = Ref<>::steal(PyTuple_Pack(1, state->str_msg));
    if (!keyword) return -1;
    PyObject* args[] = {awaited, message};
    Ref<> result = Ref<>::steal(PyObject_VectorcallMethod(
        state->str_cancel, args, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, keyword.get()));
    return result ? PyObject_IsTrue(result.get()) : -1;
}

bool check_coroutine(State* state, PyObject* coro) noexcept {
    if (PyCoro_CheckExact(coro)) [[likely]]
        return true;
    int known = PySet_Contains(state->coroutine_types, object(Py_TYPE(coro)));
    if (known != 0) return known > 0;
    Ref<> answer = Ref<>::steal(PyObject_CallOneArg(state->iscoroutine, coro));
    int is_coroutine = answer ? PyObject_IsTrue(answer.get()) : -1;
    if (is_coroutine < 0) return false;
    if (!is_coroutine) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R", coro);
        return false;
    }
    constexpr Py_ssize_t kMostTypes = 100;  // a cache, not a registry
    if (PySet_GET_SIZE(state->coroutine_types) < kMostTypes)
        return PySet_Add(state->coroutine_types, object(Py_TYPE(coro))) == 0;
    return true;
}

PyObject* new_task(Loop* loop, PyObject* coro, PyObject* name, PyObject* context,
                   bool eager_start) noexcept {
    State* state = loop->state;
    if (!check_coroutine(state, coro) || !check_thread(loop)) return nullptr;
    PyObject* made = state->free_tasks.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, state->task);
        if (made == nullptr) return nullptr;
    }
    std::memset(reinterpret_cast<char*>(made) + sizeof(PyObject), 0,
                sizeof(Task) - sizeof(PyObject));
    Task* task = as_task(made);
    bool filled = fill(loop, task, coro, name, context);
    PyObject_GC_Track(made);
    if (!filled) {
        task->log_destroy_pending = 0;
        Py_DECREF(made);
        return nullptr;
    }
    link_task(loop, task);
    if (eager_start) [[unlikely]] {
        if (!start_eagerly(loop, task)) {
            PyObject* pending = take_exception();
            Py_DECREF(made);
            if (pending != nullptr) raise_exception(pending);
            return nullptr;
        }
        return made;
    }
    if (start_soon(loop, task)) [[likely]]
        return made;
    Py_DECREF(made);
    return nullptr;
}

void link_task([[maybe_unused]] Loop* loop, Task* task) noexcept {
#if PY_VERSION_HEX >= 0x030E0000
    if (loop->anchor != nullptr && loop->anchor->node.next != nullptr) [[likely]] {
        ListNode* anchor = &loop->anchor->node;
        task->node.next = anchor->next;
        task->node.prev = anchor;
        anchor->next->prev = &task->node;
        anchor->next = &task->node;
        return;
    }
    // CPython's list hangs on the thread state, whose head we can't name: let it link this one,
    // and link the next ones to this.
    PyObject* done = PyObject_CallOneArg(loop->state->register_task, object(task));
    if (done == nullptr)
        PyErr_Clear();
    else
        Py_DECREF(done);
    loop->anchor = task;
#else
    ListNode* head = &loop->state->tasks;
    task->node.next = head->next;
    task->node.prev = head;
    head->next->prev = &task->node;
    head->next = &task->node;
#endif
}

void unlink_task(Task* task) noexcept {
    if (task->node.next == nullptr) return;
    task->node.prev->next = task->node.next;
    task->node.next->prev = task->node.prev;
    task->node.next = task->node.prev = nullptr;
    // Not `native` itself: where the base's __init__() has changed the loop, it may be gone.
    Loop* loop = native_loop(task);
    if (loop != nullptr && loop->anchor == task) loop->anchor = nullptr;
}

PyObject* live_tasks([[maybe_unused]] PyObject* module, PyObject*) {
    PyObject* list = PyList_New(0);
    if (list == nullptr) return nullptr;
#if PY_VERSION_HEX < 0x030E0000
    ListNode* head = &state_of(module)->tasks;
    for (ListNode* node = head->next; node != head; node = node->next) {
        auto* task =
            reinterpret_cast<PyObject*>(reinterpret_cast<char*>(node) - offsetof(Task, node));
        if (PyList_Append(list, task) < 0) {
            Py_DECREF(list);
            return nullptr;
        }
    }
#endif
    return list;
}

bool materialise_context(Task* task) noexcept {
    if (task->vars == nullptr) return true;
    PyObject* made = Scratch::context_with(task->vars);
    if (made == nullptr) return false;
    Py_XSETREF(task->context, made);
    Py_CLEAR(task->vars);
    return true;
}

PyObject* create_task(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    State* state = state_of(module);
    Loop* loop = running_loop(state);
    if (loop != nullptr) return loop_create_task(object(loop), args, count, names);
    Ref<> running = Ref<>::steal(PyObject_CallNoArgs(state->get_running_loop));
    if (!running) return nullptr;
    if (running.get() == Py_None) {
        PyErr_SetString(PyExc_RuntimeError, "no running event loop");
        return nullptr;
    }
    Ref<> bound = Ref<>::steal(PyObject_GetAttrString(running.get(), "create_task"));
    return bound ? PyObject_Vectorcall(bound.get(), args, count, names) : nullptr;
}

bool add_task_type(PyObject* module, State* state) {
    Ref<> bases = Ref<>::steal(PyTuple_Pack(2, object(state->base_task), object(state->future)));
    return bases && add_type(module, spec, bases.get(), state->task);
}

}  // namespace penstock::py
