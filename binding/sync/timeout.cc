#include "sync/timeout.h"

#include "futures/task.h"
#include "loop/clock.h"
#include "loop/handle.h"
#include "py/coroutine_function.h"
#include "py/trashcan.h"
#include "py/types.h"
#include "sync/coroutine.h"
#include "sync/deadline.h"

namespace penstock::py {

struct Timeout {
    PyObject_HEAD State* state;
    PyObject* phase;       // a member of asyncio's enum: attribute `_state`
    PyObject* when;        // nullptr for `seconds` as a float
    double seconds;        // of loop.time()
    PyObject* task;        // nullptr until it is entered
    PyObject* cancelling;  // how often that was cancelled by then
    PyObject* handler;     // a timer of asyncio's code, or nullptr
    Deadline* deadline;    // ours
    PyObject* context;     // of the deadline: what it is told in
    PyObject* dict;
    PyObject* weakrefs;
};

namespace {

// What `async with` calls, as a coroutine.
struct TimeoutStep : Coroutine {
    Timeout* timeout;
    PyObject* thrown[3];  // what __aexit__() is given: all nullptr for None
};

Timeout* as_timeout(PyObject* self) noexcept { return reinterpret_cast<Timeout*>(self); }
TimeoutStep* as_step(Coroutine* self) noexcept { return static_cast<TimeoutStep*>(self); }

Timeout* new_timeout(State* state) noexcept {
    PyObject* made = state->free_timeouts.pop();
    if (made == nullptr) {
        made = PyObject_GC_New(PyObject, state->timeout);
        if (made == nullptr) return nullptr;
    }
    Timeout* self = as_timeout(made);
    self->state = state;
    self->phase = Py_NewRef(state->timeout_created);
    self->when = nullptr;
    self->seconds = 0;
    self->task = nullptr;
    self->cancelling = nullptr;
    self->handler = nullptr;
    self->deadline = nullptr;
    self->context = nullptr;
    self->dict = nullptr;
    self->weakrefs = nullptr;
    PyObject_GC_Track(made);
    return self;
}

// ---- the deadline ----------------------------------------------------------------------------

// A timer that calls asyncio's _on_timeout().
Handle* new_expiry(Loop* loop, Timeout* self) noexcept {
    Ref<> callback = Ref<>::steal(PyMethod_New(self->state->stock_timeout_expires, object(self)));
    if (!callback) return nullptr;
    // A handle takes vars as well as a Context.
    Handle* handle = new_timer_handle(loop, self->seconds, callback.get(), nullptr, 0, nullptr);
    if (handle == nullptr) return nullptr;
    Py_SETREF(handle->context, Py_NewRef(self->context));
    track(handle);
    return handle;
}

bool expire(Loop* loop, Deadline* deadline) noexcept {
    Timeout* self = as_timeout(deadline->owner);
    Handle* handle = new_expiry(loop, self);
    if (handle == nullptr) return false;
    Ref<> held = take_owner(deadline);
    Py_CLEAR(self->context);
    run_handle(handle);
    Py_DECREF(object(handle));
    return true;
}

void forget_deadline(Timeout* self) noexcept {
    if (self->deadline == nullptr) return;
    Ref<> held = Ref<>::borrow(object(self));
    disarm(self->deadline);
    Py_CLEAR(self->context);
}

// Begins to wait for `seconds`. Where they are over already asyncio's code goes by call_soon().
Began begin_deadline(Loop* loop, Timeout* self) noexcept {
    double time;
    if (!read_clock(loop, time)) return Began::kFailed;
    if (self->seconds <= time) return Began::kNo;
    State* state = self->state;
    PyObject* context = Scratch::snapshot(loop->thread, state->bare_context, state->empty_vars);
    if (context == nullptr) return Began::kFailed;
    Py_XSETREF(self->context, context);
    if (arm(loop, time_point(self->seconds), object(self), self->deadline, expire))
        return Began::kYes;
    Py_CLEAR(self->context);
    return Began::kFailed;
}

// The deadline as the handle that asyncio has there: for whoever looks.
bool show_deadline(Timeout* self) noexcept {
    Loop* loop = self->deadline->loop;
    Handle* handle = new_expiry(loop, self);
    if (handle == nullptr) return false;
    handle->is_queued = loop->reactor->timers().push(
        time_point(self->seconds), make_word(WordKind::kHandle, Py_NewRef(object(handle))));
    if (!handle->is_queued) {
        Py_DECREF(object(handle));
        Py_DECREF(object(handle));
        PyErr_NoMemory();
        return false;
    }
    forget_deadline(self);
    Py_XSETREF(self->handler, object(handle));
    return true;
}

// ---- `async with` ----------------------------------------------------------------------------

Began enter(Loop* loop, Timeout* self) noexcept {
    State* state = self->state;
    Task* task = loop->stepping;
    // An eager task of asyncio's own may run within the step of ours.
    if (self->phase != state->timeout_created || Py_TYPE(task) != state->task ||
        read_current_task(loop).get() != object(task))
        return Began::kNo;
    if (self->when != Py_None) {
        if (self->when != nullptr && !read_seconds(self->when, self->seconds)) return Began::kNo;
        Began began = begin_deadline(loop, self);
        if (began != Began::kYes) return began;
    }
    Py_XSETREF(self->cancelling, PyLong_FromLong(task->cancels_requested));
    if (self->cancelling == nullptr) {
        forget_deadline(self);
        return Began::kFailed;
    }
    Py_XSETREF(self->task, Py_NewRef(object(task)));
    Py_XSETREF(self->phase, Py_NewRef(state->timeout_entered));
    return Began::kYes;
}

// Whether there was nothing to do but to forget the deadline.
bool leave_in_time(Timeout* self) noexcept {
    bool is_in_time = self->phase == self->state->timeout_entered && self->handler == nullptr;
    forget_deadline(self);
    if (is_in_time) Py_XSETREF(self->phase, Py_NewRef(self->state->timeout_exited));
    return is_in_time;
}

PySendResult begin_enter(Coroutine* coroutine, PyObject** result) noexcept {
    State* state = coroutine->state;
    Timeout* self = as_step(coroutine)->timeout;
    Loop* loop = loop_of_deadlines(state);
    switch (loop != nullptr ? enter(loop, self) : Began::kNo) {
        case Began::kYes: return end_with(Py_NewRef(object(self)), result);
        case Began::kFailed: return fail(result);
        default: break;
    }
    PyObject* stock = PyObject_CallOneArg(state->stock_timeout_enter, object(self));
    return stock != nullptr ? delegate_to(coroutine, stock, result) : fail(result);
}

PySendResult begin_exit(Coroutine* coroutine, PyObject** result) noexcept {
    TimeoutStep* step = as_step(coroutine);
    if (leave_in_time(step->timeout)) return end_with_none(result);
    PyObject* args[] = {object(step->timeout), Py_None, Py_None, Py_None};
    for (int i = 0; i < 3; ++i)
        if (step->thrown[i] != nullptr) args[i + 1] = step->thrown[i];
    PyObject* stock = PyObject_Vectorcall(step->state->stock_timeout_exit, args, 4, nullptr);
    return stock != nullptr ? delegate_to(step, stock, result) : fail(result);
}

PySendResult resume(Coroutine*, PyObject* value, PyObject* thrown, PyObject** result) noexcept {
    return thrown != nullptr ? end_with_exception(thrown, result) : end_with(value, result);
}

int visit_step(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(as_step(self)->timeout));
    for (PyObject* each : as_step(self)->thrown) Py_VISIT(each);
    return 0;
}

void clear_step(Coroutine* self) noexcept {
    Py_CLEAR(as_step(self)->timeout);
    for (PyObject*& each : as_step(self)->thrown) Py_CLEAR(each);
}

constexpr CoroutineKind step_kind(const char* name, const char* qualified_name,
                                  decltype(CoroutineKind::begin) begin) noexcept {
    return {.name = name,
            .qualified_name = qualified_name,
            .wait_kind = WaitKind::kNothing,
            .begin = begin,
            .resume = resume,
            .visit = visit_step,
            .clear = clear_step,
            .withdraw = nullptr,
            .free = &State::free_timeout_steps};
}

constexpr CoroutineKind kEnter = step_kind("__aenter__", "Timeout.__aenter__", begin_enter);
constexpr CoroutineKind kExit = step_kind("__aexit__", "Timeout.__aexit__", begin_exit);

template <const CoroutineKind& kKind>
PyObject* new_step(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject*) {
    Timeout* self = as_timeout(args[0]);
    State* state = self->state;
    auto* step = static_cast<TimeoutStep*>(new_coroutine(state, state->timeout_step, &kKind));
    if (step == nullptr) return nullptr;
    step->timeout = as_timeout(Py_NewRef(args[0]));
    for (Py_ssize_t i = 0; i < 3; ++i)
        step->thrown[i] =
            i + 1 < count && args[i + 1] != Py_None ? Py_NewRef(args[i + 1]) : nullptr;
    PyObject_GC_Track(object(step));
    return object(step);
}

// ---- methods and attributes ------------------------------------------------------------------

PyObject* reschedule(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Timeout* self = as_timeout(args[0]);
    State* state = self->state;
    auto stock = [&] {
        return PyObject_Vectorcall(state->stock_timeout_reschedule, args,
                                   static_cast<std::size_t>(count), names);
    };
    Loop* loop = running_loop(state);
    bool is_native = loop != nullptr && loop->is_plain && !loop->is_debug && !loop->has_own_timers;
    if (count != 2 || names != nullptr || self->phase != state->timeout_entered) return stock();
    bool had_handler = self->handler != nullptr;
    forget_deadline(self);
    double seconds = 0;
    if (!is_native || had_handler || (args[1] != Py_None && !read_seconds(args[1], seconds)))
        return stock();
    Py_XSETREF(self->when, Py_NewRef(args[1]));
    if (args[1] == Py_None) Py_RETURN_NONE;
    self->seconds = seconds;
    switch (begin_deadline(loop, self)) {
        case Began::kYes: Py_RETURN_NONE;
        case Began::kNo: return stock();
        default: return nullptr;
    }
}

// isinstance(timeout, asyncio.Timeout) holds.
PyObject* get_class(PyObject* self, void*) {
    return Py_NewRef(as_timeout(self)->state->stock_timeout_class);
}

PyObject* get_when(PyObject* self, void*) {
    PyObject* when = as_timeout(self)->when;
    return when != nullptr ? Py_NewRef(when) : PyFloat_FromDouble(as_timeout(self)->seconds);
}

PyObject* get_handler(PyObject* self, void*) {
    Timeout* timeout = as_timeout(self);
    if (timeout->deadline != nullptr && !show_deadline(timeout)) return nullptr;
    return Py_NewRef(timeout->handler != nullptr ? timeout->handler : Py_None);
}

template <PyObject* Timeout::*kField>
int set(PyObject* self, PyObject* value, void*) {
    if (value == nullptr) {
        PyErr_SetString(PyExc_AttributeError, "it can't be deleted");
        return -1;
    }
    bool is_none_null = kField == &Timeout::handler;
    Py_XSETREF(as_timeout(self)->*kField,
               is_none_null && value == Py_None ? nullptr : Py_NewRef(value));
    return 0;
}

PyGetSetDef attributes[] = {
    {"__class__", get_class, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"_when", get_when, set<&Timeout::when>, nullptr, nullptr},
    {"_timeout_handler", get_handler, set<&Timeout::handler>, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"_state", T_OBJECT, offsetof(Timeout, phase), 0, nullptr},
    {"_task", T_OBJECT, offsetof(Timeout, task), 0, nullptr},
    {"_cancelling", T_OBJECT_EX, offsetof(Timeout, cancelling), 0, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Timeout, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Timeout, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

int traverse(PyObject* object_, visitproc visit, void* arg) {
    Timeout* self = as_timeout(object_);
    Py_VISIT(Py_TYPE(object_));
    Py_VISIT(self->phase);
    Py_VISIT(self->when);
    Py_VISIT(self->task);
    Py_VISIT(self->cancelling);
    Py_VISIT(self->handler);
    Py_VISIT(self->context);
    Py_VISIT(self->dict);
    return 0;
}

int clear(PyObject* object_) {
    Timeout* self = as_timeout(object_);
    Py_CLEAR(self->phase);
    Py_CLEAR(self->when);
    Py_CLEAR(self->task);
    Py_CLEAR(self->cancelling);
    Py_CLEAR(self->handler);
    Py_CLEAR(self->context);
    Py_CLEAR(self->dict);
    return 0;
}

void dealloc(PyObject* object_) {
    PyObject_GC_UnTrack(object_);
    Timeout* self = as_timeout(object_);
    State* state = self->state;
    auto clear_all = [object_, self] {
        if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object_);
        clear(object_);
    };
    if (!clear_in_trashcan(state, object_, dealloc, clear_all)) return;
    if (state->free_timeouts.push(object_)) return;
    PyTypeObject* type = Py_TYPE(object_);
    type->tp_free(object_);
    Py_DECREF(object(type));
}

PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.Timeout", sizeof(Timeout), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

bool add_method(State* state, const char* name, FastFunction function, PyObject*& stock,
                Py_ssize_t count) noexcept {
    stock = PyObject_GetAttrString(state->stock_timeout_class, name);
    if (stock == nullptr) return false;
    Ref<> made = Ref<>::steal(
        new_coroutine_function(state, function, stock, {.owner = state->timeout, .count = count}));
    return made && PyObject_SetAttrString(object(state->timeout), name, made.get()) == 0;
}

// All that asyncio's class has and ours has not.
bool add_rest_of_stock(State* state) noexcept {
    Ref<> names = Ref<>::steal(PyObject_GetAttrString(state->stock_timeout_class, "__dict__"));
    Ref<> items = Ref<>::steal(names ? PyMapping_Items(names.get()) : nullptr);
    for (Py_ssize_t i = 0; items && i < PyList_GET_SIZE(items.get()); ++i) {
        PyObject* name = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 0);
        PyObject* value = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 1);
        bool is_skipped = PyUnicode_CompareWithASCIIString(name, "__init__") == 0 ||
                          PyUnicode_CompareWithASCIIString(name, "__weakref__") == 0;
        int is_there = PyDict_Contains(state->timeout->tp_dict, name);
        if (is_there < 0) return false;
        bool is_doc = PyUnicode_CompareWithASCIIString(name, "__doc__") == 0;
        if (is_skipped || (is_there && !is_doc)) continue;
        if (PyObject_SetAttr(object(state->timeout), name, value) < 0) return false;
    }
    return static_cast<bool>(items);
}

bool find_states(State* state) noexcept {
    Ref<> module = Ref<>::steal(PyImport_ImportModule("asyncio.timeouts"));
    Ref<> states = Ref<>::steal(module ? PyObject_GetAttrString(module.get(), "_State") : nullptr);
    if (!states) return false;
    state->timeout_created = PyObject_GetAttrString(states.get(), "CREATED");
    state->timeout_entered = PyObject_GetAttrString(states.get(), "ENTERED");
    state->timeout_exited = PyObject_GetAttrString(states.get(), "EXITED");
    state->stock_timeout_expires =
        PyObject_GetAttrString(state->stock_timeout_class, "_on_timeout");
    return state->timeout_created != nullptr && state->timeout_entered != nullptr &&
           state->timeout_exited != nullptr && state->stock_timeout_expires != nullptr;
}

}  // namespace

Began enter_timeout(Loop* loop, double seconds, Timeout*& made) noexcept {
    Ref<Timeout> self = Ref<Timeout>::steal(new_timeout(loop->state));
    if (!self || !read_clock(loop, self->seconds)) return Began::kFailed;
    self->seconds += seconds;
    Began began = enter(loop, self.get());
    if (began == Began::kYes) made = self.release();
    return began;
}

bool leave_timeout(Timeout* self, PyObject* thrown) noexcept {
    if (leave_in_time(self)) {
        if (thrown != nullptr) raise_exception(thrown);
        return thrown == nullptr;
    }
    Ref<> raised = Ref<>::steal(thrown);
    Ref<> trace = Ref<>::steal(thrown != nullptr ? PyException_GetTraceback(thrown) : nullptr);
    PyObject* args[] = {object(self), thrown != nullptr ? object(Py_TYPE(thrown)) : Py_None,
                        thrown != nullptr ? thrown : Py_None, trace ? trace.get() : Py_None};
    Ref<> exit =
        Ref<>::steal(PyObject_Vectorcall(self->state->stock_timeout_exit, args, 4, nullptr));
    if (!exit) return false;
    // As in an `except`: what it raises comes of `thrown`.
    Ref<> handled = Ref<>::steal(PyErr_GetHandledException());
    if (raised) PyErr_SetHandledException(thrown);
    PyObject* swallows = nullptr;
    PySendResult sent = PyIter_Send(exit.get(), Py_None, &swallows);
    if (raised) PyErr_SetHandledException(handled.get());
    Py_XDECREF(swallows);
    if (sent == PYGEN_RETURN && raised) raise_exception(raised.release());
    return sent == PYGEN_RETURN && thrown == nullptr;
}

void forget_timeout(Timeout* self) noexcept { forget_deadline(self); }

PyObject* timeout_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) {
    State* state = state_of(module);
    Loop* loop = running_loop(state);
    double delay = 0;
    if (loop == nullptr || loop->has_own_clock || count != 1 || names != nullptr ||
        (args[0] != Py_None && !read_seconds(args[0], delay)))
        return PyObject_Vectorcall(state->stock_timeout, args, static_cast<std::size_t>(count),
                                   names);
    Timeout* self = new_timeout(state);
    if (self == nullptr) return nullptr;
    if (args[0] == Py_None) {
        self->when = Py_NewRef(Py_None);
    } else {
        read_clock(loop, self->seconds);
        self->seconds += delay;
    }
    return object(self);
}

PyObject* timeout_at_function(PyObject* module, PyObject* const* args, Py_ssize_t count,
                              PyObject* names) {
    State* state = state_of(module);
    if (count != 1 || names != nullptr)
        return PyObject_Vectorcall(state->stock_timeout_at, args, static_cast<std::size_t>(count),
                                   names);
    Timeout* self = new_timeout(state);
    if (self != nullptr) self->when = Py_NewRef(args[0]);
    return object(self);
}

bool add_timeout_types(PyObject* module, State* state) {
    return find_states(state) && add_type(module, spec, nullptr, state->timeout) &&
           add_coroutine_type(module, "penstock._core.TimeoutStep", sizeof(TimeoutStep),
                              state->timeout_step) &&
           add_method(state, "__aenter__", new_step<kEnter>, state->stock_timeout_enter, 1) &&
           add_method(state, "__aexit__", new_step<kExit>, state->stock_timeout_exit, 4) &&
           add_method(state, "reschedule", reschedule, state->stock_timeout_reschedule, -1) &&
           add_rest_of_stock(state);
}

}  // namespace penstock::py
