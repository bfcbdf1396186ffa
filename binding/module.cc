// penstock._core: the extension module.
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>

#include "asgi/http_server.h"
#include "base/orphan.h"
#include "futures/future.h"
#include "futures/future_iter.h"
#include "futures/probe.h"
#include "futures/task.h"
#include "http/http1_events.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "py/coroutine_function.h"
#include "py/outermost.h"
#include "py/types.h"
#include "streams/handler_callback.h"
#include "streams/reader.h"
#include "sync/coroutine_iter.h"
#include "sync/gather.h"
#include "sync/primitive.h"
#include "sync/sleep.h"
#include "sync/task_group.h"
#include "sync/timeout.h"
#include "sync/wait.h"
#include "sync/wait_for.h"
#include "transport/methods.h"
#include "transport/sock_call.h"
#include "transport/tls_library.h"

namespace penstock::py {
namespace {

bool import_into(PyObject*& slot, const char* module, const char* name) noexcept {
    Ref<> imported = Ref<>::steal(PyImport_ImportModule(module));
    if (!imported) return false;
    slot = PyObject_GetAttrString(imported.get(), name);
    return slot != nullptr;
}

// Where the name may be missing.
bool import_if_there(PyObject*& slot, const char* module, const char* name) noexcept {
    if (import_into(slot, module, name)) return true;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear();
    return true;
}

// The function behind a method of `type`, where it is called as `flags` says.
PyCFunction function_of(PyObject* type, const char* name, int flags) noexcept {
    Ref<> found = Ref<>::steal(PyObject_GetAttrString(type, name));
    if (!found) PyErr_Clear();
    if (!found || !Py_IS_TYPE(found.get(), &PyMethodDescr_Type)) return nullptr;
    const PyMethodDef* method = reinterpret_cast<PyMethodDescrObject*>(found.get())->d_method;
    return method->ml_flags == flags ? method->ml_meth : nullptr;
}

bool find_deque(State* state) noexcept {
    if (!import_into(state->deque, "collections", "deque")) return false;
    state->deque_append = function_of(state->deque, "append", METH_O);
    state->deque_popleft = function_of(state->deque, "popleft", METH_NOARGS);
    return true;
}

// asyncio has it from 3.13 on.
bool find_shut_down(State* state) noexcept {
    if (!import_if_there(state->queue_shut_down, "asyncio.queues", "QueueShutDown")) return false;
    if (state->queue_shut_down != nullptr) return true;
    state->queue_shut_down = PyErr_NewExceptionWithDoc(
        "penstock.QueueShutDown", "Raised when putting on to or getting from a shut-down Queue.",
        nullptr, nullptr);
    return state->queue_shut_down != nullptr;
}

bool import_asyncio(State* state) noexcept {
    // asyncio before _asyncio: the C module looks into the package while it is made.
    Ref<> asyncio = Ref<>::steal(PyImport_ImportModule("asyncio"));
    if (!asyncio) return false;
    PyObject *base_future, *base_task;
    if (!import_into(base_future, "_asyncio", "Future") ||
        !import_into(base_task, "_asyncio", "Task"))
        return false;
    state->base_future = reinterpret_cast<PyTypeObject*>(base_future);
    state->base_task = reinterpret_cast<PyTypeObject*>(base_task);
    if (!import_into(state->cancelled_error, "asyncio.exceptions", "CancelledError") ||
        !import_into(state->invalid_state_error, "asyncio.exceptions", "InvalidStateError") ||
        !import_into(state->iscoroutine, "asyncio.coroutines", "iscoroutine") ||
        !import_into(state->iscoroutinefunction, "inspect", "iscoroutinefunction") ||
        !import_into(state->extract_stack, "traceback", "extract_stack") ||
        !import_into(state->extract_short_stack, "asyncio.format_helpers", "extract_stack") ||
        !import_into(state->format_callback_source, "asyncio.format_helpers",
                     "_format_callback_source") ||
        !import_into(state->abstract_handle, "asyncio.events", "Handle") ||
        !import_into(state->abstract_timer_handle, "asyncio.events", "TimerHandle") ||
        !import_into(state->stock_sleep, "asyncio.tasks", "sleep") ||
        !import_into(state->stock_gather, "asyncio.tasks", "gather") ||
        !import_into(state->stock_wait_for, "asyncio.tasks", "wait_for") ||
        !import_into(state->stock_cancel_and_wait, "asyncio.tasks", "_cancel_and_wait") ||
        !import_into(state->stock_timeout, "asyncio.timeouts", "timeout") ||
        !import_into(state->stock_timeout_at, "asyncio.timeouts", "timeout_at") ||
        !import_into(state->stock_timeout_class, "asyncio.timeouts", "Timeout") ||
        !import_into(state->stock_group, "asyncio.taskgroups", "TaskGroup") ||
        !import_into(state->queue_empty, "asyncio.queues", "QueueEmpty") ||
        !import_into(state->queue_full, "asyncio.queues", "QueueFull") ||
        !import_into(state->incomplete_read_error, "asyncio.exceptions", "IncompleteReadError") ||
        !import_into(state->limit_overrun_error, "asyncio.exceptions", "LimitOverrunError") ||
        !import_into(state->heappush, "heapq", "heappush") ||
        !import_into(state->heappop, "heapq", "heappop") || !find_deque(state) ||
        !find_shut_down(state) ||
        !import_into(state->get_running_loop, "_asyncio", "_get_running_loop") ||
        !import_into(state->register_task, "_asyncio", "_register_task"))
        return false;
    PyObject* defaults = PyFunction_Check(state->format_callback_source)
                             ? PyFunction_GetKwDefaults(state->format_callback_source)
                             : nullptr;
    state->shows_arguments =
        defaults != nullptr && PyDict_GetItemString(defaults, "debug") != nullptr;
    if (kHas314)
        return import_if_there(state->future_add_to_awaited_by, "_asyncio",
                               "future_add_to_awaited_by") &&
               import_if_there(state->future_discard_from_awaited_by, "_asyncio",
                               "future_discard_from_awaited_by");
    return import_into(state->current_tasks, "_asyncio", "_current_tasks");
}

bool intern_names(State* state) noexcept {
#define NAME(name)                                         \
    state->str_##name = PyUnicode_InternFromString(#name); \
    if (state->str_##name == nullptr) return false;
    PENSTOCK_NAMES(NAME)
#undef NAME
    Py_SETREF(state->str_throw_, PyUnicode_InternFromString("throw"));
    if (state->str_throw_ == nullptr) return false;
    state->context_keyword = PyTuple_Pack(1, state->str_context);
    state->newline = PyBytes_FromStringAndSize("\n", 1);
    state->coroutine_types = PySet_New(nullptr);
    return state->context_keyword != nullptr && state->newline != nullptr &&
           state->coroutine_types != nullptr;
}

bool remember_empty_vars(State* state) noexcept {
    if (!state->bare_context) return true;
    Ref<> context = Ref<>::steal(PyContext_New());
    if (!context) return false;
    state->empty_vars = Py_NewRef(reinterpret_cast<ContextObject*>(context.get())->vars);
    return true;
}

bool add_types(PyObject* module, State* state) noexcept {
    if (state->native_task) {
        if (!add_future_types(module, state) || !add_task_type(module, state) ||
            !add_future_iter_type(module, state))
            return false;
        without_inline_values(state->future);
        without_inline_values(state->task);
    } else {
        if (PyModule_AddObjectRef(module, "Future", object(state->base_future)) < 0 ||
            PyModule_AddObjectRef(module, "Task", object(state->base_task)) < 0)
            return false;
    }
    return add_handle_types(module, state) && add_loop_type(module, state) &&
           add_coroutine_iter_type(module, state) && add_sleep_type(module, state) &&
           add_wait_types(module, state) && add_queue_types(module, state) &&
           add_stream_types(module, state) && add_sock_call_type(module, state) &&
           add_gather(module, state) && add_task_group_types(module, state) &&
           add_coroutine_function_type(module, state) && add_timeout_types(module, state) &&
           add_wait_for_type(module, state) && add_transport_types(module, state) &&
           add_asgi_types(module, state);
}

bool add_stand_in(PyObject* module, const char* name, FastFunction function,
                  PyObject* original) noexcept {
    Ref<> made = Ref<>::steal(new_coroutine_function(state_of(module), function, original));
    return made && PyModule_AddObjectRef(module, name, made.get()) == 0;
}

bool add_functions(PyObject* module, State* state) noexcept {
    return add_stand_in(module, "sleep", sleep_function, state->stock_sleep) &&
           add_stand_in(module, "wait_for", wait_for_function, state->stock_wait_for) &&
           add_stand_in(module, "timeout", timeout_function, state->stock_timeout) &&
           add_stand_in(module, "timeout_at", timeout_at_function, state->stock_timeout_at) &&
           PyModule_AddObjectRef(module, "QueueShutDown", state->queue_shut_down) == 0;
}

bool tell_why_stock(PyObject* module, State* state) noexcept {
    PyObject* why = state->why_stock != nullptr ? state->why_stock : Py_None;
    if (PyModule_AddObjectRef(module, "native_task", state->native_task ? Py_True : Py_False) < 0 ||
        PyModule_AddObjectRef(module, "why_stock_task", why) < 0)
        return false;
    if (state->why_stock == nullptr || wants_stock_task()) return true;
    return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                            "penstock runs without its native Task: %U. Everything works, slower.",
                            state->why_stock) == 0;
}

#if PY_VERSION_HEX < 0x030E0000
// Up to 3.13 a daemon thread that asks for the GIL while the interpreter ends is unwound by
// pthread_exit(), which no noexcept function lets through: std::terminate() would abort the
// process. Such a thread waits for the process to end instead, as CPython has it from 3.14 on.
std::terminate_handler outer_terminate = nullptr;

[[noreturn]] void terminate_or_wait() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    bool is_ending = Py_IsFinalizing();
#else
    bool is_ending = _Py_IsFinalizing();
#endif
    bool is_main_thread = ::getpid() == static_cast<pid_t>(::syscall(SYS_gettid));
    if (is_ending && !is_main_thread && std::current_exception() == nullptr)
        for (;;) ::pause();
    if (outer_terminate != nullptr) outer_terminate();
    std::abort();
}

void keep_daemon_threads_from_terminating() noexcept {
    std::terminate_handler outer = std::get_terminate();
    if (outer == terminate_or_wait) return;
    outer_terminate = outer;
    std::set_terminate(terminate_or_wait);
}
#else
void keep_daemon_threads_from_terminating() noexcept {}
#endif

int execute(PyObject* module) {
    keep_daemon_threads_from_terminating();
    State* state = state_of(module);
    state->module = module;
    state->tasks.next = state->tasks.prev = &state->tasks;
    bool done = intern_names(state) && import_asyncio(state) && probe_layout(state) &&
                remember_empty_vars(state) && add_types(module, state) &&
                add_functions(module, state) && tell_why_stock(module, state);
    return done ? 0 : -1;
}

// Its own types, and the two that they derive from.
constexpr PyTypeObject* State::*kTypes[] = {&State::future,
                                            &State::task,
                                            &State::future_iter,
                                            &State::handle,
                                            &State::timer_handle,
                                            &State::loop,
                                            &State::sleep,
                                            &State::wait,
                                            &State::waiters,
                                            &State::sock_call,
                                            &State::reader,
                                            &State::reader_protocol_part,
                                            &State::writer_part,
                                            &State::read,
                                            &State::drain,
                                            &State::queue_wait,
                                            &State::queue_part,
                                            &State::done_callback,
                                            &State::gathering,
                                            &State::group_part,
                                            &State::coroutine_function,
                                            &State::coroutine_iter,
                                            &State::timeout,
                                            &State::timeout_step,
                                            &State::wait_for,
                                            &State::transport,
                                            &State::read_pipe,
                                            &State::write_pipe,
                                            &State::datagram_transport,
                                            &State::acceptor,
                                            &State::tls_transport,
                                            &State::http_server,
                                            &State::http_connection,
                                            &State::exchange,
                                            &State::receiver,
                                            &State::receive,
                                            &State::send_message,
                                            &State::base_socket,
                                            &State::base_future,
                                            &State::base_task};

int traverse(PyObject* module, visitproc visit, void* arg) {
    State* state = state_of(module);
    if (state == nullptr) return 0;
    for (PyTypeObject* State::*type : kTypes) Py_VISIT(object(state->*type));
    Py_VISIT(object(state->stream_reader));
    Py_VISIT(object(state->stream_writer));
    Py_VISIT(object(state->stream_reader_protocol));
    Py_VISIT(state->current_tasks);
    Py_VISIT(state->coroutine_types);
    Py_VISIT(state->python_sock_recv);
    Py_VISIT(state->python_sock_recv_into);
    Py_VISIT(state->python_sock_sendall);
    Py_VISIT(state->python_sock_connect);
    Py_VISIT(state->python_create_connection);
    Py_VISIT(state->stop_iteration);
    return 0;
}

int clear(PyObject* module) {
    State* state = state_of(module);
    if (state == nullptr) return 0;
    state->plain_loop = nullptr;
    state->free_futures.clear(PyObject_GC_Del);
    state->free_tasks.clear(PyObject_GC_Del);
    state->task_names.clear();
    state->free_iters.clear(PyObject_GC_Del);
    state->free_handles.clear(PyObject_GC_Del);
    state->free_timer_handles.clear(PyObject_GC_Del);
    state->free_sleeps.clear(PyObject_GC_Del);
    state->free_waits.clear(PyObject_GC_Del);
    state->free_puts.clear(PyObject_GC_Del);
    state->free_timeout_steps.clear(PyObject_GC_Del);
    state->free_wait_fors.clear(PyObject_GC_Del);
    state->free_timeouts.clear(PyObject_GC_Del);
    state->free_reads.clear(PyObject_GC_Del);
    state->free_sock_calls.clear(PyObject_GC_Del);
    state->free_drains.clear(PyObject_GC_Del);
    state->free_receives.clear(PyObject_GC_Del);
    state->free_sends.clear(PyObject_GC_Del);
    Py_CLEAR(state->stream_reader);
    Py_CLEAR(state->stream_writer);
    Py_CLEAR(state->python_sock_recv);
    Py_CLEAR(state->python_sock_recv_into);
    Py_CLEAR(state->python_sock_sendall);
    Py_CLEAR(state->python_sock_connect);
    Py_CLEAR(state->python_create_connection);
    Py_CLEAR(state->stream_reader_protocol);
    Py_CLEAR(state->stop_iteration);
    Py_CLEAR(state->coroutine_types);
    return 0;
}

// The last of the module: its types, which hold it, are gone, and with them their instances.
void free_module(void* pointer) {
    auto* module = static_cast<PyObject*>(pointer);
    clear(module);
    State* state = state_of(module);
    if (state == nullptr) return;
    delete std::exchange(state->tls, nullptr);
    for (PyTypeObject* State::*type : kTypes) Py_CLEAR(state->*type);
    for (PyObject** kept : {&state->cancelled_error,
                            &state->invalid_state_error,
                            &state->iscoroutine,
                            &state->iscoroutinefunction,
                            &state->extract_stack,
                            &state->extract_short_stack,
                            &state->format_callback_source,
                            &state->abstract_handle,
                            &state->abstract_timer_handle,
                            &state->stock_sleep,
                            &state->stock_gather,
                            &state->gather_callback,
                            &state->stock_wait_for,
                            &state->stock_cancel_and_wait,
                            &state->stock_timeout,
                            &state->stock_timeout_at,
                            &state->stock_timeout_class,
                            &state->stock_timeout_enter,
                            &state->stock_timeout_exit,
                            &state->stock_timeout_reschedule,
                            &state->stock_timeout_expires,
                            &state->timeout_created,
                            &state->timeout_entered,
                            &state->timeout_exited,
                            &state->stock_group,
                            &state->group_callback,
                            &state->queue_empty,
                            &state->queue_full,
                            &state->queue_shut_down,
                            &state->incomplete_read_error,
                            &state->limit_overrun_error,
                            &state->newline,
                            &state->deque,
                            &state->heappush,
                            &state->heappop,
                            &state->buffered_protocol,
                            &state->transport_socket,
                            &state->socket_class,
                            &state->make_handler_callback,
                            &state->gaierror,
                            &state->get_running_loop,
                            &state->register_task,
                            &state->current_tasks,
                            &state->future_add_to_awaited_by,
                            &state->future_discard_from_awaited_by,
                            &state->empty_vars,
                            &state->context_keyword,
                            &state->why_stock})
        Py_CLEAR(*kept);
#define NAME(name) Py_CLEAR(state->str_##name);
    PENSTOCK_NAMES(NAME)
#undef NAME
}

PyObject* end_when_orphaned(PyObject*, PyObject* seconds) {
    double allowed = PyFloat_AsDouble(seconds);
    if (allowed == -1 && PyErr_Occurred() != nullptr) return nullptr;
    std::chrono::duration<double> time(allowed);
    int error = penstock::end_when_orphaned(std::chrono::ceil<std::chrono::seconds>(time));
    if (error == 0) Py_RETURN_NONE;
    errno = -error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

PyMethodDef functions[] = {
    {"create_task", method(create_task), kFast,
     PyDoc_STR("create_task($module, coro, /, *, name=None, context=None, **kwargs)\n--\n\n"
               "Schedule the execution of a coroutine object in a spawn task.\n\n"
               "Return a Task object. Raises RuntimeError where no loop runs (see "
               "asyncio.create_task).")},
    {"gather", method(gather), kFast,
     PyDoc_STR(
         "gather($module, /, *coros_or_futures, return_exceptions=False)\n--\n\n"
         "Return a future aggregating results from the given coroutines/futures.\n\n"
         "Its result is the list of theirs, in the order of the arguments. Where\n"
         "`return_exceptions` is false, the first exception is its own at once; else exceptions\n"
         "are results like others. Cancelling it cancels all that are not done (see\n"
         "asyncio.gather).")},
    {"adopt_hot_methods", adopt_hot_methods, METH_O,
     "Class decorator: a subclass of Loop calls its hot methods directly."},
    {"adopt_sock_methods", adopt_sock_methods, METH_O,
     "Class decorator: the sock_* methods of a loop are native."},
    {"call_outermost", method(call_outermost), METH_FASTCALL,
     "function(*args), which finds no frames above its own."},
    {"furnish", furnish, METH_O,
     "Class decorator: a subclass of one of asyncio's primitives gets its native methods."},
    {"put_off_handler_callback", method(put_off_handler_callback), METH_FASTCALL,
     "Whether asyncio's callback of a connection's handler is made when it is needed only."},
    {"live_tasks", live_tasks, METH_NOARGS,
     "All native tasks that are not done (below CPython 3.14)."},
    {"tls_path", tls_path, METH_NOARGS,
     "Whether TLS drives OpenSSL directly, and why not or None."},
    {"end_when_orphaned", end_when_orphaned, METH_O,
     "end_when_orphaned(seconds): be killed so long after the parent's death; 0: never."},
    {"task_record", task_record, METH_O,
     "What a task remembers of itself, or None for a foreign one."},
    {"_http1_events", method(http1_events), METH_FASTCALL,
     "_http1_events(pieces, limits=None): what the parser of HTTP/1.1 tells of a list of bytes, "
     "for "
     "the tests."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, nullptr}};

}  // namespace

PyModuleDef module_definition = {PyModuleDef_HEAD_INIT,
                                 "penstock._core",
                                 "The native part of penstock.",
                                 sizeof(State),
                                 functions,
                                 module_slots,
                                 traverse,
                                 clear,
                                 free_module};

State* find_state(PyTypeObject* type) noexcept {
    PyObject* module = PyType_GetModuleByDef(type, &module_definition);
    return module != nullptr ? state_of(module) : nullptr;
}

}  // namespace penstock::py

PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&penstock::py::module_definition); }
