#include "loop/handle.h"

#include "py/ref.h"
#include "py/trashcan.h"
#include "py/types.h"

namespace penstock::py {
namespace {

template <class List>
Handle* allocate(List& free_list, PyTypeObject* type) noexcept {
    PyObject* made = free_list.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, type);
        if (made == nullptr) return nullptr;
    }
    return as_handle(made);
}

bool fill(Handle* handle, Loop* loop, PyObject* callback, PyObject* const* args, Py_ssize_t count,
          PyObject* context) noexcept {
    State* state = loop->state;
    handle->loop = nullptr;
    handle->callback = nullptr;
    handle->context = nullptr;
    handle->source_traceback = nullptr;
    handle->weakrefs = nullptr;
    handle->arg_count = 0;
    handle->is_cancelled = false;
    handle->is_timer = false;
    handle->is_queued = false;
    handle->is_running = false;
    handle->is_tracked = false;
    handle->persists = false;
    handle->caused = 0;
    if (context == nullptr || context == Py_None)
        handle->context =
            Scratch::snapshot(current_thread(loop), state->bare_context, state->empty_vars);
    else
        handle->context = Py_NewRef(context);
    if (handle->context == nullptr) return false;
    if (count <= Handle::kInlineArgs) {
        for (Py_ssize_t i = 0; i < count; ++i) handle->args[i] = Py_NewRef(args[i]);
        handle->arg_count = static_cast<std::uint8_t>(count);
    } else {
        PyObject* tuple = PyTuple_New(count);
        if (tuple == nullptr) return false;
        for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        handle->args[0] = tuple;
        handle->arg_count = Handle::kArgsInTuple;
    }
    handle->callback = Py_NewRef(callback);
    handle->loop = reinterpret_cast<Loop*>(Py_NewRef(object(loop)));
    if (loop->is_debug) [[unlikely]] {
        handle->source_traceback = PyObject_CallNoArgs(state->extract_short_stack);
        if (handle->source_traceback == nullptr) return false;
    }
    return true;
}

Py_ssize_t held_args(const Handle* handle) noexcept {
    return handle->arg_count == Handle::kArgsInTuple ? 1 : handle->arg_count;
}

// Lets go of callback and arguments. They may run Python code as they die, which may look at this
// handle: it is empty by then. The context stays, for get_context().
void let_go(Handle* handle) noexcept {
    Py_ssize_t count = held_args(handle);
    handle->arg_count = 0;
    PyObject* callback = std::exchange(handle->callback, nullptr);
    PyObject* args[Handle::kInlineArgs];
    for (Py_ssize_t i = 0; i < count; ++i) args[i] = handle->args[i];
    for (Py_ssize_t i = 0; i < count; ++i) Py_DECREF(args[i]);
    Py_XDECREF(callback);
}

PyObject* args_tuple(const Handle* handle) noexcept {
    if (handle->arg_count == Handle::kArgsInTuple) return Py_NewRef(handle->args[0]);
    PyObject* tuple = PyTuple_New(handle->arg_count);
    if (tuple == nullptr) return nullptr;
    for (Py_ssize_t i = 0; i < handle->arg_count; ++i)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(handle->args[i]));
    return tuple;
}

// call_soon(future.set_result, …) and its like run no Python code that could ask for the current
// task, which costs two writes to tell it of.
bool is_method_of_future(const Handle* handle) noexcept {
    return PyCFunction_CheckExact(handle->callback) &&
           PyCFunction_GET_SELF(handle->callback) != nullptr &&
           Py_TYPE(PyCFunction_GET_SELF(handle->callback)) == handle->loop->state->future;
}

PyObject* call(Handle* handle) noexcept {
    if (handle->arg_count == Handle::kArgsInTuple) [[unlikely]]
        return PyObject_Call(handle->callback, handle->args[0], nullptr);
    return PyObject_Vectorcall(handle->callback, handle->args, handle->arg_count, nullptr);
}

// "function() at file:line", as asyncio words it.
PyObject* source_of_callback(const Handle* handle) noexcept {
    State* state = handle->loop->state;
    Ref<> args = Ref<>::steal(args_tuple(handle));
    Ref<> pair = Ref<>::steal(args ? PyTuple_Pack(2, handle->callback, args.get()) : nullptr);
    if (!pair) return nullptr;
    bool is_debug = state->shows_arguments && handle->loop->is_debug;
    Ref<> keywords = Ref<>::steal(is_debug ? Py_BuildValue("{s:O}", "debug", Py_True) : nullptr);
    if (is_debug && !keywords) return nullptr;
    return PyObject_Call(state->format_callback_source, pair.get(), keywords.get());
}

// "Exception in callback …", likewise.
PyObject* failure_message(Handle* handle) noexcept {
    if (handle->callback == nullptr) return nullptr;
    Ref<> source = Ref<>::steal(source_of_callback(handle));
    if (!source) return nullptr;
    return PyUnicode_FromFormat("Exception in callback %U", source.get());
}

void report_failure(Handle* handle) noexcept {
    Loop* loop = handle->loop;
    if (take_failure(loop)) return;
    PyObject* exception = take_exception();
    Ref<> message = Ref<>::steal(failure_message(handle));
    if (!message) PyErr_Clear();
    const char* text = message ? PyUnicode_AsUTF8(message.get()) : nullptr;
    if (text == nullptr) PyErr_Clear();
    report_exception(loop, text != nullptr ? text : "Exception in callback", exception,
                     {{"handle", object(handle)}, {"source_traceback", handle->source_traceback}});
}

// ---- type ------------------------------------------------------------------------------------

int traverse(PyObject* self, visitproc visit, void* arg) {
    Handle* handle = as_handle(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(handle->loop));
    Py_VISIT(handle->callback);
    Py_VISIT(handle->context);
    for (Py_ssize_t i = 0; i < held_args(handle); ++i) Py_VISIT(handle->args[i]);
    Py_VISIT(handle->source_traceback);
    return 0;
}

int clear(PyObject* self) {
    Handle* handle = as_handle(self);
    let_go(handle);
    Py_CLEAR(handle->context);
    Py_CLEAR(handle->source_traceback);
    return 0;  // the loop stays: cancel() needs it
}

void dealloc(PyObject* self) {
    Handle* handle = as_handle(self);
    if (std::exchange(handle->is_tracked, false)) PyObject_GC_UnTrack(self);
    auto clear_all = [self, handle] {
        if (handle->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
        let_go(handle);
        Py_CLEAR(handle->context);
        Py_CLEAR(handle->source_traceback);
    };
    PyTypeObject* type = Py_TYPE(self);
    bool kept = false;
    if (handle->loop == nullptr) {
        clear_all();  // it could not be filled
    } else {
        State* state = handle->loop->state;
        if (!clear_in_trashcan(state, self, dealloc, clear_all)) return;
        Loop* loop = std::exchange(handle->loop, nullptr);
        if (type == state->handle)
            kept = state->free_handles.push(self);
        else if (type == state->timer_handle)
            kept = state->free_timer_handles.push(self);
        Py_DECREF(object(loop));
    }
    if (kept) return;
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyObject* cancel(PyObject* self, PyObject*) {
    cancel_handle(as_handle(self));
    Py_RETURN_NONE;
}

PyObject* cancelled(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_handle(self)->is_cancelled);
}

PyObject* get_context(PyObject* self, PyObject*) {
    Handle* handle = as_handle(self);
    if (handle->context == nullptr) Py_RETURN_NONE;
    // The callback that asks gets the scratch context that it runs in; holding on to it makes it
    // the handle's own when the callback returns.
    if (handle->loop != nullptr && handle->loop->in_scratch == handle)
        return Py_NewRef(handle->loop->scratch.context());
    if (!is_context(handle->context)) {
        PyObject* made = Scratch::context_with(handle->context);
        if (made == nullptr) return nullptr;
        Py_SETREF(handle->context, made);
    }
    return Py_NewRef(handle->context);
}

PyObject* repr(PyObject* self) {
    Handle* handle = as_handle(self);
    const char* name = handle->is_timer ? "TimerHandle" : "Handle";
    Ref<> parts =
        Ref<>::steal(PyUnicode_FromFormat("%s%s", name, handle->is_cancelled ? " cancelled" : ""));
    if (!parts) return nullptr;
    if (handle->is_timer) {
        Ref<> when = Ref<>::steal(PyFloat_FromDouble(handle->when));
        if (!when) return nullptr;
        parts = Ref<>::steal(PyUnicode_FromFormat("%U when=%R", parts.get(), when.get()));
        if (!parts) return nullptr;
    }
    if (handle->callback != nullptr) {
        Ref<> source = Ref<>::steal(source_of_callback(handle));
        if (!source) return nullptr;
        parts = Ref<>::steal(PyUnicode_FromFormat("%U %U", parts.get(), source.get()));
        if (!parts) return nullptr;
    }
    if (handle->source_traceback != nullptr && PySequence_Size(handle->source_traceback) > 0) {
        Ref<> frame = Ref<>::steal(PySequence_GetItem(handle->source_traceback, -1));
        Ref<> file = Ref<>::steal(frame ? PySequence_GetItem(frame.get(), 0) : nullptr);
        Ref<> line = Ref<>::steal(file ? PySequence_GetItem(frame.get(), 1) : nullptr);
        if (!line) return nullptr;
        parts = Ref<>::steal(
            PyUnicode_FromFormat("%U created at %S:%S", parts.get(), file.get(), line.get()));
        if (!parts) return nullptr;
    }
    return PyUnicode_FromFormat("<%U>", parts.get());
}

PyObject* get_class(PyObject* self, void*) {
    Handle* handle = as_handle(self);
    if (handle->loop == nullptr) return Py_NewRef(object(Py_TYPE(self)));
    State* state = handle->loop->state;
    return Py_NewRef(handle->is_timer ? state->abstract_timer_handle : state->abstract_handle);
}

PyObject* get_loop(PyObject* self, void*) { return Py_XNewRef(object(as_handle(self)->loop)); }

PyObject* get_callback(PyObject* self, void*) {
    PyObject* callback = as_handle(self)->callback;
    return Py_NewRef(callback != nullptr ? callback : Py_None);
}

PyObject* get_args(PyObject* self, void*) {
    if (as_handle(self)->callback == nullptr) Py_RETURN_NONE;
    return args_tuple(as_handle(self));
}

PyObject* get_cancelled(PyObject* self, void*) { return cancelled(self, nullptr); }
PyObject* get_context_attribute(PyObject* self, void*) { return get_context(self, nullptr); }

PyObject* get_source_traceback(PyObject* self, void*) {
    PyObject* traceback = as_handle(self)->source_traceback;
    return Py_NewRef(traceback != nullptr ? traceback : Py_None);
}

PyObject* get_when(PyObject* self, void*) { return PyFloat_FromDouble(as_handle(self)->when); }

PyObject* when(PyObject* self, PyObject*) { return get_when(self, nullptr); }

PyObject* get_scheduled(PyObject* self, void*) {
    return PyBool_FromLong(as_handle(self)->is_queued);
}

bool same_callback(Handle* a, Handle* b, bool& same) noexcept {
    if (a->is_cancelled != b->is_cancelled ||
        (a->callback == nullptr) != (b->callback == nullptr)) {
        same = false;
        return true;
    }
    if (a->callback == nullptr) {
        same = true;
        return true;
    }
    int equal = PyObject_RichCompareBool(a->callback, b->callback, Py_EQ);
    if (equal > 0) {
        Ref<> left = Ref<>::steal(args_tuple(a));
        Ref<> right = Ref<>::steal(args_tuple(b));
        if (!left || !right) return false;
        equal = PyObject_RichCompareBool(left.get(), right.get(), Py_EQ);
    }
    same = equal > 0;
    return equal >= 0;
}

// By deadline, as asyncio.TimerHandle: equal ones are equal only with the same callback.
PyObject* compare(PyObject* self, PyObject* other, int operation) {
    State* state = as_handle(self)->loop->state;
    if (Py_TYPE(other) != state->timer_handle) Py_RETURN_NOTIMPLEMENTED;
    Handle* a = as_handle(self);
    Handle* b = as_handle(other);
    bool same = false;
    if (operation != Py_LT && operation != Py_GT && a->when == b->when &&
        !same_callback(a, b, same))
        return nullptr;
    switch (operation) {
        case Py_LT: return PyBool_FromLong(a->when < b->when);
        case Py_GT: return PyBool_FromLong(a->when > b->when);
        case Py_LE: return PyBool_FromLong(a->when < b->when || same);
        case Py_GE: return PyBool_FromLong(a->when > b->when || same);
        case Py_EQ: return PyBool_FromLong(same);
        default: return PyBool_FromLong(!same);
    }
}

Py_hash_t hash(PyObject* self) {
    Ref<> value = Ref<>::steal(get_when(self, nullptr));
    return value ? PyObject_Hash(value.get()) : -1;
}

constexpr PyMethodDef kCancel = {
    "cancel", cancel, METH_NOARGS,
    "cancel($self)\n--\n\nCancel the callback; it will not be called."};
constexpr PyMethodDef kCancelled = {
    "cancelled", cancelled, METH_NOARGS,
    "cancelled($self)\n--\n\nWhether the callback has been cancelled."};
constexpr PyMethodDef kGetContext = {
    "get_context", get_context, METH_NOARGS,
    "get_context($self)\n--\n\nThe contextvars.Context that the callback runs in."};
constexpr PyMethodDef kWhen = {
    "when", when, METH_NOARGS,
    "when($self)\n--\n\nWhen the callback is due, in seconds of loop.time()."};

PyMethodDef methods[] = {kCancel, kCancelled, kGetContext, {nullptr, nullptr, 0, nullptr}};
PyMethodDef timer_methods[] = {
    kCancel, kCancelled, kGetContext, kWhen, {nullptr, nullptr, 0, nullptr}};

// `__class__`: isinstance(handle, asyncio.Handle) holds, without the 80 bytes of its slots.
PyGetSetDef attributes[] = {{"__class__", get_class, nullptr, nullptr, nullptr},
                            {"_loop", get_loop, nullptr, nullptr, nullptr},
                            {"_callback", get_callback, nullptr, nullptr, nullptr},
                            {"_args", get_args, nullptr, nullptr, nullptr},
                            {"_cancelled", get_cancelled, nullptr, nullptr, nullptr},
                            {"_context", get_context_attribute, nullptr, nullptr, nullptr},
                            {"_source_traceback", get_source_traceback, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyGetSetDef timer_attributes[] = {
    {"__class__", get_class, nullptr, nullptr, nullptr},
    {"_loop", get_loop, nullptr, nullptr, nullptr},
    {"_callback", get_callback, nullptr, nullptr, nullptr},
    {"_args", get_args, nullptr, nullptr, nullptr},
    {"_cancelled", get_cancelled, nullptr, nullptr, nullptr},
    {"_context", get_context_attribute, nullptr, nullptr, nullptr},
    {"_source_traceback", get_source_traceback, nullptr, nullptr, nullptr},
    {"_when", get_when, nullptr, nullptr, nullptr},
    {"_scheduled", get_scheduled, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Handle, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A callback that a loop will call.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Slot timer_slots[] = {
    {Py_tp_doc, const_cast<char*>("A callback that a loop will call at a given time.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
    {Py_tp_hash, reinterpret_cast<void*>(hash)},
    {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_attributes},
    {Py_tp_members, members},
    {0, nullptr}};

constexpr unsigned long kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                                 Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE;
PyType_Spec spec = {"penstock._core.Handle", sizeof(Handle), 0, kFlags, slots};
PyType_Spec timer_spec = {"penstock._core.TimerHandle", sizeof(Handle), 0, kFlags, timer_slots};

}  // namespace

Handle* new_handle(Loop* loop, PyObject* callback, PyObject* const* args, Py_ssize_t count,
                   PyObject* context) noexcept {
    Handle* handle = allocate(loop->state->free_handles, loop->state->handle);
    if (handle == nullptr) return nullptr;
    if (fill(handle, loop, callback, args, count, context)) [[likely]]
        return handle;
    Py_DECREF(object(handle));
    return nullptr;
}

Handle* new_timer_handle(Loop* loop, double when_due, PyObject* callback, PyObject* const* args,
                         Py_ssize_t count, PyObject* context) noexcept {
    Handle* handle = allocate(loop->state->free_timer_handles, loop->state->timer_handle);
    if (handle == nullptr) return nullptr;
    bool filled = fill(handle, loop, callback, args, count, context);
    handle->is_timer = true;
    handle->when = when_due;
    if (filled) [[likely]]
        return handle;
    Py_DECREF(object(handle));
    return nullptr;
}

void track(Handle* handle) noexcept {
    if (std::exchange(handle->is_tracked, true)) return;
    PyObject_GC_Track(object(handle));
}

void run_handle(Handle* handle) noexcept {
    if (handle->is_cancelled || handle->callback == nullptr) return;
    if (!is_method_of_future(handle)) set_current_task(handle->loop, nullptr);
    Handle* outer = std::exchange(handle->loop->running_handle, handle);
    // A cancel() from within the call must not let go of what the call uses.
    handle->is_running = true;
    bool returned = false;
    if (!is_context(handle->context)) handle->loop->in_scratch = handle;
    run_in_context(handle->loop, handle->context, true, [&] {
        PyObject* result = call(handle);
        returned = result != nullptr;
        Py_XDECREF(result);
    });
    handle->loop->in_scratch = nullptr;
    // The exception handler runs in this context as well, which therefore has to be left before.
    if (!returned) [[unlikely]]
        report_failure(handle);
    handle->is_running = false;
    handle->loop->running_handle = outer;
    if (handle->persists && handle->loop->reactor != nullptr)
        handle->caused = handle->loop->reactor->ready().end();
    // Whoever keeps the handle for a later cancel() need not keep alive what it held.
    // In debug mode it is kept whole, for it may be shown as a slow one.
    bool is_spent = returned && !handle->persists && Py_REFCNT(object(handle)) > 1;
    if ((is_spent || handle->is_cancelled) && !handle->loop->is_debug) let_go(handle);
}

void cancel_handle(Handle* handle) noexcept {
    if (handle->is_cancelled) return;
    handle->is_cancelled = true;
    Loop* loop = handle->loop;
    bool was_queued = handle->is_queued;
    if (!handle->is_running && (loop == nullptr || !loop->is_debug)) let_go(handle);
    if (was_queued && loop != nullptr) count_cancelled_timer(loop);
}

bool add_handle_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->handle) &&
           add_type(module, timer_spec, nullptr, state->timer_handle);
}

}  // namespace penstock::py
