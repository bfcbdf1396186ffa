#include "loop/loop.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

#include "futures/future.h"
#include "futures/task.h"
#include "loop/children.h"
#include "loop/clock.h"
#include "loop/fd_table.h"
#include "loop/handle.h"
#include "py/arguments.h"
#include "py/os_error.h"
#include "py/types.h"
#include "reactor/selection.h"
#include "sync/deadline.h"
#include "transport/methods.h"
#include "transport/network.h"

namespace penstock::py {
namespace {

// Whether the loop's method `name` is `function`, which neither a subclass nor an attribute of the
// instance has replaced.
bool has_our_method(Loop* loop, PyObject* name, PyCFunction function) noexcept {
    if (loop->dict != nullptr && PyDict_GetItemWithError(loop->dict, name) != nullptr) return false;
    PyObject* found = _PyType_Lookup(Py_TYPE(object(loop)), name);
    return found != nullptr && Py_IS_TYPE(found, &PyMethodDescr_Type) &&
           reinterpret_cast<PyMethodDescrObject*>(found)->d_method->ml_meth == function;
}

// Where a method is the program's, what would go past it goes through it.
void look_for_replaced_methods(Loop* loop) noexcept {
    State* state = loop->state;
    loop->is_plain = has_our_method(loop, state->str_call_soon, method(loop_call_soon));
    loop->has_own_create_task =
        !has_our_method(loop, state->str_create_task, method(loop_create_task));
    loop->has_own_clock = !has_our_method(loop, state->str_time, loop_time);
    loop->has_own_timers = loop->has_own_clock ||
                           !has_our_method(loop, state->str_call_at, method(loop_call_at)) ||
                           !has_our_method(loop, state->str_call_later, method(loop_call_later));
}

int setattro(PyObject* self, PyObject* name, PyObject* value) {
    if (PyObject_GenericSetAttr(self, name, value) < 0) return -1;
    look_for_replaced_methods(as_loop(self));
    return 0;
}

// Throws as select_backend() does. Without a backend where PENSTOCK_BACKEND names none, with
// ValueError set.
Selection wanted_backend() {
    const char* wanted = std::getenv("PENSTOCK_BACKEND");
    Selection selection = select_backend(wanted);
    if (selection.backend == nullptr)
        PyErr_Format(PyExc_ValueError, "PENSTOCK_BACKEND is '%s'; there are 'epoll' and 'uring'",
                     wanted);
    return selection;
}

PyObject* new_loop(PyTypeObject* type, PyObject*, PyObject*) {
    State* state = state_of_type(type);
    if (state == nullptr) return nullptr;
    PyObject* self = type->tp_alloc(type, 0);
    if (self == nullptr) return nullptr;
    Loop* loop = as_loop(self);
    loop->state = state;
    new (&loop->scratch) Scratch;
    loop->is_closed = true;
    loop->slow_callback_duration = 0.1;
    look_for_replaced_methods(loop);
    loop->hash = PyObject_Hash(self);
    loop->task_factory = Py_NewRef(Py_None);
    if (loop->hash == -1 && PyErr_Occurred()) {
        Py_DECREF(self);
        return nullptr;
    }
    try {
        Selection selection = wanted_backend();
        if (selection.backend != nullptr)
            loop->backend_reason = PyUnicode_FromString(selection.reason.c_str());
        if (loop->backend_reason == nullptr) {
            Py_DECREF(self);
            return nullptr;
        }
        loop->reactor = new Reactor(std::move(selection.backend));
        loop->fds = new FdTable(loop);
        loop->network = new Network(loop);
    } catch (const std::system_error& error) {
        Py_DECREF(self);
        return raise_os_error(error);
    } catch (const std::bad_alloc&) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    loop->is_closed = false;
    return self;
}

void close_loop(Loop* loop) noexcept {
    loop->is_closed = true;
    delete std::exchange(loop->network, nullptr);
    delete std::exchange(loop->children, nullptr);
    FdTable* fds = std::exchange(loop->fds, nullptr);
    delete fds;
    if (loop->signals != nullptr) loop->reactor->forget_own(loop->signals->read_fd());
    delete std::exchange(loop->signals, nullptr);
    Reactor* reactor = std::exchange(loop->reactor, nullptr);
    if (reactor == nullptr) return;
    // What is dropped may run Python code that looks at the loop: it finds it closed.
    reactor->drain([loop](Word word) { drop_word(loop, word); });
    delete reactor;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Loop* loop = as_loop(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(loop->dict);
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->failure);
    Py_VISIT(loop->scratch.context());
    if (loop->fds != nullptr)
        if (int stop = loop->fds->traverse(visit, arg); stop != 0) return stop;
    if (loop->network != nullptr)
        if (int stop = loop->network->traverse(visit, arg); stop != 0) return stop;
    if (loop->children != nullptr)
        if (int stop = loop->children->traverse(visit, arg); stop != 0) return stop;
    if (loop->reactor == nullptr) return 0;
    int stop = 0;
    loop->reactor->visit([&](Word word) {
        auto kind = static_cast<WordKind>(word & kWordKindMask);
        if (stop != 0 || kind == WordKind::kCompletion) return;
        auto* pointer = reinterpret_cast<PyObject*>(word & ~kWordKindMask);
        if (kind == WordKind::kDeadline) pointer = reinterpret_cast<Deadline*>(pointer)->owner;
        if (pointer != nullptr) stop = visit(pointer, arg);
    });
    return stop;
}

int clear(PyObject* self) {
    Loop* loop = as_loop(self);
    close_loop(loop);
    Py_CLEAR(loop->dict);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->failure);
    Py_CLEAR(loop->backend_reason);
    return 0;
}

void dealloc(PyObject* self) {
    Loop* loop = as_loop(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (loop->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
    clear(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* close(PyObject* self, PyObject*) {
    if (as_loop(self)->is_running) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event loop");
        return nullptr;
    }
    close_loop(as_loop(self));
    Py_RETURN_NONE;
}

PyObject* stop(PyObject* self, PyObject*) {
    as_loop(self)->is_stopping = true;
    Py_RETURN_NONE;
}

PyObject* is_running(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_loop(self)->is_running);
}
PyObject* is_closed(PyObject* self, PyObject*) { return PyBool_FromLong(as_loop(self)->is_closed); }
PyObject* get_debug(PyObject* self, PyObject*) { return PyBool_FromLong(as_loop(self)->is_debug); }

PyObject* set_debug(PyObject* self, PyObject* enabled) {
    int is_true = PyObject_IsTrue(enabled);
    if (is_true < 0) return nullptr;
    as_loop(self)->is_debug = is_true != 0;
    Py_RETURN_NONE;
}

// Its name, and why it is that one.
PyObject* backend(PyObject* self, PyObject*) {
    Loop* loop = as_loop(self);
    if (!check_open(loop)) return nullptr;
    auto name = loop->reactor->backend().name();
    return Py_BuildValue("(s#O)", name.data(), static_cast<Py_ssize_t>(name.size()),
                         loop->backend_reason);
}

// Where signal.set_wakeup_fd() has the C-level signal handler write. The bytes only end the
// loop's wait: Python's own handlers then do what is to be done.
PyObject* signal_fd(PyObject* self, PyObject*) {
    Loop* loop = as_loop(self);
    if (!check_open(loop)) return nullptr;
    if (loop->signals == nullptr) {
        try {
            loop->signals = new Signals([](int) {});
        } catch (const std::system_error& failed) {
            return raise_os_error(failed);
        } catch (const std::bad_alloc&) {
            return PyErr_NoMemory();
        }
        int error = loop->reactor->watch_own(loop->signals->read_fd(), *loop->signals);
        if (error != 0) {
            delete std::exchange(loop->signals, nullptr);
            return raise_watch_error(loop, error);
        }
    }
    return PyLong_FromLong(loop->signals->write_fd());
}

// A signature first, for inspect.signature() and help().
PyMethodDef methods[] = {
    {"call_soon", method(loop_call_soon), kFast,
     "call_soon($self, callback, *args, context=None)\n--\n\n"
     "Call `callback(*args)` in the next turn of the loop; return a Handle, which can be "
     "cancelled.\n\n"
     "It runs in `context`, or in a copy of the current one. Raises RuntimeError if the loop is\n"
     "closed, and in debug mode for a thread that is not the loop's; there TypeError for a\n"
     "coroutine and for what cannot be called."},
    {"call_soon_threadsafe", method(loop_call_soon_threadsafe), kFast,
     "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
     "As call_soon(), from any thread; the loop wakes up for it."},
    {"call_later", method(loop_call_later), kFast,
     "call_later($self, delay, callback, *args, context=None)\n--\n\n"
     "Call `callback(*args)` after `delay` seconds; return a TimerHandle. Raises as call_soon() "
     "does."},
    {"call_at", method(loop_call_at), kFast,
     "call_at($self, when, callback, *args, context=None)\n--\n\n"
     "Call `callback(*args)` at `when`, in seconds of time(); return a TimerHandle.\n\n"
     "Of two with one time the first scheduled is called first. Raises as call_soon() does."},
    {"time", loop_time, METH_NOARGS,
     "time($self)\n--\n\n"
     "The loop's clock, in seconds: that of time.monotonic(), from an unspecified start."},
    {"create_future", loop_create_future, METH_NOARGS,
     "create_future($self)\n--\n\n"
     "A new Future attached to the loop."},
    {"create_task", method(loop_create_task), kFast,
     "create_task($self, coro, *, name=None, context=None, **kwargs)\n--\n\n"
     "Schedule a coroutine; return its Task.\n\n"
     "It runs in `context`, or in a copy of the current one. `kwargs` are the task's, as\n"
     "`eager_start`, or the task factory's. Raises RuntimeError if the loop is closed."},
    {"set_task_factory", method(one_argument<"set_task_factory", "factory", loop_set_task_factory>),
     kFast,
     "set_task_factory($self, factory)\n--\n\n"
     "Have create_task() call `factory(loop, coro, **kwargs)`, or make a Task for None.\n\n"
     "Raises TypeError if it cannot be called."},
    {"get_task_factory", loop_get_task_factory, METH_NOARGS,
     "get_task_factory($self)\n--\n\n"
     "The task factory, or None where there is none."},
    {"stop", stop, METH_NOARGS,
     "stop($self)\n--\n\n"
     "Stop the loop after the current turn; before a run, after its first turn."},
    {"is_running", is_running, METH_NOARGS, "is_running($self)\n--\n\nWhether the loop runs."},
    {"is_closed", is_closed, METH_NOARGS,
     "is_closed($self)\n--\n\nWhether the loop has been closed."},
    {"get_debug", get_debug, METH_NOARGS, "get_debug($self)\n--\n\nWhether debug mode is on."},
    {"set_debug", method(one_argument<"set_debug", "enabled", set_debug>), kFast,
     "set_debug($self, enabled)\n--\n\nTurn debug mode on or off."},
    {"add_reader", method(loop_add_reader), kFast,
     "add_reader($self, fd, callback, *args)\n--\n\n"
     "Call `callback(*args)` whenever `fd` can be read; replaces an earlier reader.\n\n"
     "`fd` is a descriptor, or an object with fileno(). Raises ValueError for what is neither,\n"
     "RuntimeError where a transport uses it or the loop is closed, PermissionError for a file "
     "that\n"
     "epoll cannot watch, such as one on a disk."},
    {"add_writer", method(loop_add_writer), kFast,
     "add_writer($self, fd, callback, *args)\n--\n\n"
     "Call `callback(*args)` whenever `fd` can be written; else as add_reader()."},
    {"remove_reader", method(one_argument<"remove_reader", "fd", loop_remove_reader>), kFast,
     "remove_reader($self, fd)\n--\n\n"
     "Undo add_reader(); whether there was one. Raises RuntimeError where a transport uses it."},
    {"remove_writer", method(one_argument<"remove_writer", "fd", loop_remove_writer>), kFast,
     "remove_writer($self, fd)\n--\n\n"
     "Undo add_writer(); whether there was one. Raises RuntimeError where a transport uses it."},
    {"_run", loop_run, METH_NOARGS, nullptr},
    {"_close", close, METH_NOARGS, nullptr},
    {"_backend", backend, METH_NOARGS, nullptr},
    {"_signal_fd", signal_fd, METH_NOARGS, nullptr},
    {"_wait_readable", loop_wait_readable, METH_O, nullptr},
    {"_wait_writable", loop_wait_writable, METH_O, nullptr},
    {"_forget_fd", loop_forget_fd, METH_O, nullptr},
    {"_ensure_fd_no_transport", loop_ensure_fd_no_transport, METH_O, nullptr},
    {"_watch_child", method(loop_watch_child), METH_FASTCALL, nullptr},
    {"_make_transport", method(loop_make_transport), kFast, nullptr},
    {"_make_read_pipe_transport", method(loop_make_read_pipe_transport), METH_FASTCALL, nullptr},
    {"_make_write_pipe_transport", method(loop_make_write_pipe_transport), METH_FASTCALL, nullptr},
    {"_make_tls", method(loop_make_tls), METH_FASTCALL, nullptr},
    {"_make_datagram_transport", method(loop_make_datagram_transport), METH_FASTCALL, nullptr},
    {"_listen", method(loop_listen), kFast, nullptr},
    {"_unlisten", method(loop_unlisten), kFast, nullptr},
    {"_transports_of", loop_transports_of, METH_O, nullptr},
    {"_resolve", method(loop_resolve), kFast, nullptr},
    {nullptr, nullptr, 0, nullptr}};

// What runs next, oldest first: for debuggers and tests, which know it from the stock loop.
PyObject* get_ready(PyObject* self, void*) {
    Loop* loop = as_loop(self);
    PyObject* list = PyList_New(0);
    if (list == nullptr || loop->reactor == nullptr) return list;
    ReadyQueue& ready = loop->reactor->ready();
    for (std::size_t i = 0; i < ready.size(); ++i) {
        Word word = ready.peek(i);
        if (static_cast<WordKind>(word & kWordKindMask) == WordKind::kCompletion) continue;
        if (PyList_Append(list, reinterpret_cast<PyObject*>(word & ~kWordKindMask)) < 0) {
            Py_DECREF(list);
            return nullptr;
        }
    }
    return list;
}

// Timers in no order, likewise. A sleep() and a timeout() have none.
PyObject* get_scheduled(PyObject* self, void*) {
    Loop* loop = as_loop(self);
    PyObject* list = PyList_New(0);
    if (list == nullptr || loop->reactor == nullptr) return list;
    // First of all references: an append may run the collector, and that anything.
    std::vector<Ref<>> handles;
    try {
        loop->reactor->timers().visit([&](Word word) {
            if (static_cast<WordKind>(word & kWordKindMask) == WordKind::kHandle)
                handles.push_back(
                    Ref<>::borrow(reinterpret_cast<PyObject*>(word & ~kWordKindMask)));
        });
    } catch (const std::bad_alloc&) {
        Py_DECREF(list);
        return PyErr_NoMemory();
    }
    for (const Ref<>& handle : handles) {
        if (PyList_Append(list, handle.get()) < 0) {
            Py_DECREF(list);
            return nullptr;
        }
    }
    return list;
}

// Whose creation the default exception handler tells of in debug mode.
PyObject* get_current_handle(PyObject* self, void*) {
    Handle* handle = as_loop(self)->running_handle;
    return Py_NewRef(handle != nullptr ? object(handle) : Py_None);
}

PyObject* get_closed(PyObject* self, void*) { return is_closed(self, nullptr); }

PyGetSetDef attributes[] = {{"_closed", get_closed, nullptr, nullptr, nullptr},
                            {"_current_handle", get_current_handle, nullptr, nullptr, nullptr},
                            {"_ready", get_ready, nullptr, nullptr, nullptr},
                            {"_scheduled", get_scheduled, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"slow_callback_duration", T_DOUBLE, offsetof(Loop, slow_callback_duration), 0,
     "Seconds from which debug mode calls a callback slow."},
    {"__dictoffset__", T_PYSSIZET, offsetof(Loop, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Loop, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of penstock.Loop.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_loop)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_setattro, reinterpret_cast<void*>(setattro)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {Py_tp_getset, attributes},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.Loop", sizeof(Loop), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

bool check_open(Loop* loop) noexcept {
    if (!loop->is_closed) [[likely]]
        return true;
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return false;
}

PyObject* loop_create_future(PyObject* self, PyObject*) {
    Loop* loop = as_loop(self);
    State* state = loop->state;
    if (state->native_task && loop->is_plain) [[likely]]
        return new_future(loop);
    Ref<> keywords = Ref<>::steal(PyDict_New());
    Ref<> none = Ref<>::steal(PyTuple_New(0));
    if (!keywords || !none || PyDict_SetItem(keywords.get(), state->str_loop, self) < 0)
        return nullptr;
    PyTypeObject* type = state->native_task ? state->future : state->base_future;
    return PyObject_Call(object(type), none.get(), keywords.get());
}

namespace {

// Task(coro, loop=loop, **keywords): for a subclass of the loop, or where Task is the stock one.
PyObject* stock_task(Loop* loop, PyObject* coro, PyObject* name, PyObject* context,
                     PyObject* eager_start) noexcept {
    State* state = loop->state;
    Ref<> keywords = Ref<>::steal(PyDict_New());
    Ref<> args = Ref<>::steal(PyTuple_Pack(1, coro));
    if (!keywords || !args || PyDict_SetItem(keywords.get(), state->str_loop, object(loop)) < 0 ||
        (name != nullptr && PyDict_SetItem(keywords.get(), state->str_name, name) < 0) ||
        (context != nullptr && PyDict_SetItem(keywords.get(), state->str_context, context) < 0) ||
        (eager_start != nullptr && eager_start != Py_None && (kHas312 || state->native_task) &&
         PyDict_SetItem(keywords.get(), state->str_eager_start, eager_start) < 0))
        return nullptr;
    PyTypeObject* type = state->native_task ? state->task : state->base_task;
    return PyObject_Call(object(type), args.get(), keywords.get());
}

// What the user's factory makes. Before 3.13.3 asyncio does not pass it the name but sets it.
PyObject* factory_task(Loop* loop, PyObject* coro, const Keywords& given) noexcept {
    State* state = loop->state;
    PyObject* self = object(loop);
    Ref<> factory = Ref<>::borrow(loop->task_factory);
    Ref<> call_args = Ref<>::steal(PyTuple_Pack(2, self, coro));
    Ref<> keywords = Ref<>::steal(PyDict_New());
    if (!call_args || !keywords) return nullptr;
    PyObject* name = nullptr;
    constexpr bool kPassesName = PY_VERSION_HEX >= 0x030D0300;
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        if (given.is(i, state->str_name)) name = given.value(i);
        bool skips = given.is(i, state->str_name) ? !kPassesName
                     : given.is(i, state->str_context)
                         ? given.value(i) == Py_None && !kPassesName
                         : given.is(i, state->str_eager_start) && given.value(i) == Py_None;
        skips = skips || PyUnicode_CompareWithASCIIString(given.name(i), "coro") == 0;
        if (!skips && PyDict_SetItem(keywords.get(), given.name(i), given.value(i)) < 0)
            return nullptr;
    }
    Ref<> task = Ref<>::steal(PyObject_Call(factory.get(), call_args.get(), keywords.get()));
    if (!task || kPassesName || name == nullptr || name == Py_None) return task.release();
    Ref<> set_name = Ref<>::steal(PyObject_GetAttr(task.get(), state->str_set_name));
    if (!set_name) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return nullptr;
        PyErr_Clear();
        return task.release();
    }
    Ref<> done = Ref<>::steal(PyObject_CallOneArg(set_name.get(), name));
    return done ? task.release() : nullptr;
}

}  // namespace

PyObject* loop_create_task(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) {
    Loop* loop = as_loop(self);
    State* state = loop->state;
    if (!check_open(loop)) return nullptr;
    Keywords given(args, count, names);
    PyObject* coro = count > 0 ? args[0] : nullptr;
    PyObject *name = nullptr, *context = nullptr, *eager_start = nullptr;
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        if (given.is(i, state->str_name))
            name = given.value(i);
        else if (given.is(i, state->str_context))
            context = given.value(i);
        else if (given.is(i, state->str_eager_start))
            eager_start = given.value(i);
        else if (PyUnicode_CompareWithASCIIString(given.name(i), "coro") == 0) {
            if (count > 0) {
                PyErr_SetString(PyExc_TypeError,
                                "create_task() got multiple values for argument 'coro'");
                return nullptr;
            }
            coro = given.value(i);
        } else if (loop->task_factory == Py_None) {
            unexpected_keyword("create_task", given.name(i));
            return nullptr;
        }
    }
    if (count > 1) {
        PyErr_Format(PyExc_TypeError,
                     "create_task() takes 2 positional arguments but %zd were given", count + 1);
        return nullptr;
    }
    if (coro == nullptr) {
        PyErr_SetString(PyExc_TypeError,
                        "create_task() missing 1 required positional argument: 'coro'");
        return nullptr;
    }
    if (loop->task_factory != Py_None) [[unlikely]]
        return factory_task(loop, coro, given);
    if (!state->native_task || !loop->is_plain) [[unlikely]]
        return stock_task(loop, coro, name, context, eager_start);
    if (context != nullptr && context != Py_None && !is_context(context)) {
        PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected, got %.200s",
                     Py_TYPE(context)->tp_name);
        return nullptr;
    }
    int is_eager = eager_start != nullptr ? PyObject_IsTrue(eager_start) : 0;
    if (is_eager < 0) return nullptr;
    return new_task(loop, coro, name, context, is_eager && loop->is_running);
}

PyObject* loop_set_task_factory(PyObject* self, PyObject* factory) {
    if (factory != Py_None && !PyCallable_Check(factory)) {
        PyErr_SetString(PyExc_TypeError, "task factory must be a callable or None");
        return nullptr;
    }
    Py_XSETREF(as_loop(self)->task_factory, Py_NewRef(factory));
    Py_RETURN_NONE;
}

PyObject* loop_get_task_factory(PyObject* self, PyObject*) {
    return Py_NewRef(as_loop(self)->task_factory);
}

// CPython calls a method descriptor directly only for instances of the very type that it was
// made for: a subclass gets descriptors of its own, of the methods that are called most.
PyObject* adopt_hot_methods(PyObject* module, PyObject* subclass) {
    State* state = state_of(module);
    if (!PyType_Check(subclass) ||
        !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(subclass), state->loop)) {
        PyErr_Format(PyExc_TypeError, "a subclass of Loop was expected, not %R", subclass);
        return nullptr;
    }
    constexpr std::string_view kHot[] = {
        "call_soon", "call_soon_threadsafe", "call_later", "call_at",
        "time",      "create_future",        "create_task"};
    for (PyMethodDef& definition : methods) {
        if (definition.ml_name == nullptr ||
            std::find(std::begin(kHot), std::end(kHot), definition.ml_name) == std::end(kHot))
            continue;
        Ref<> descriptor =
            Ref<>::steal(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(subclass), &definition));
        if (!descriptor ||
            PyObject_SetAttrString(subclass, definition.ml_name, descriptor.get()) < 0)
            return nullptr;
    }
    return Py_NewRef(subclass);
}

bool add_loop_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->loop);
}

}  // namespace penstock::py
