#include "asgi/exchange.h"

#include <new>

#include "asgi/scope.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "futures/future.h"
#include "futures/task.h"
#include "py/types.h"
#include "sync/coroutine.h"
#include "sync/done_callback.h"

namespace penstock::py {
namespace {

// ---- the application's end -------------------------------------------------------------------

// The application has ended, by what `task` has: without the response being complete where there
// still is a connection with this exchange.
void application_failed(Exchange* exchange, const char* message, PyObject* exception,
                        PyObject* task) noexcept {
    log_http_error(exchange->server, message, exception, task, exchange->scope);
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(exchange->connection);
    if (!connection || exchange->is_gone) return;
    exchange->keeps_alive = false;
    take_back_head(exchange);
    if (exchange->phase == ResponsePhase::kNone) {
        if (answer(exchange, 500, "Internal Server Error")) return;
        PyErr_WriteUnraisable(object(exchange));
    }
    // What has been sent has no end: only closing tells the client.
    if (!send_output(connection.get(), nullptr)) PyErr_WriteUnraisable(object(exchange));
    abort_connection(connection.get());
}

// What the application has ended by, or nullptr. `task` is done, and of any make.
PyObject* exception_of(const State* state, PyObject* task) noexcept {
    Ref<> result = Ref<>::steal(is_known_future(state, task)
                                    ? future_result(state, as_base(task))
                                    : PyObject_CallMethodNoArgs(task, state->str_result));
    return result ? nullptr : take_exception();
}

// Whether the application has ended by what send() has told it, or by an exception of its own that
// was raised as it heard of it: Starlette has one.
bool is_of_send(PyObject* exception) noexcept {
    constexpr int kFarthest = 16;
    Ref<> each = Ref<>::borrow(exception);
    for (int i = 0; i < kFarthest && each; ++i) {
        if (PyErr_GivenExceptionMatches(each.get(), PyExc_OSError)) return true;
        each = Ref<>::steal(PyException_GetContext(each.get()));
    }
    return false;
}

// Of a websocket that was accepted: the client is told, unless it has been already.
void websocket_application_done(Exchange* exchange, PyObject* exception, PyObject* task) noexcept {
    std::uint16_t code =
        exception != nullptr ? websocket::kInternalError : websocket::kNormalClosure;
    if (exception != nullptr)
        log_http_error(exchange->server, "Exception in ASGI application", exception, task,
                       exchange->scope);
    close_websocket(exchange, code, {});
}

void application_done(Exchange* exchange, PyObject* task) noexcept {
    Ref<Exchange> held = Ref<Exchange>::borrow(exchange);
    Ref<> held_task = Ref<>::borrow(task);
    if (exchange->task != nullptr && PySet_Discard(exchange->server->service->running, task) < 0)
        PyErr_WriteUnraisable(task);
    Py_CLEAR(exchange->task);
    const State* state = exchange->server->loop->state;
    PyObject* exception = exception_of(state, task);
    if (exception != nullptr) {
        // Whom the client has left or the server has stopped may end as it likes.
        bool is_stopped = PyErr_GivenExceptionMatches(exception, state->cancelled_error) &&
                          (exchange->connection == nullptr || exchange->is_gone);
        bool is_told = exchange->is_gone && is_of_send(exception);
        if (is_stopped || is_told) return Py_DECREF(exception);
    }
    if (exchange->phase == ResponsePhase::kUpgraded)
        return websocket_application_done(exchange, exception, task);
    if (exception != nullptr) {
        application_failed(exchange, "Exception in ASGI application", exception, task);
    } else if (exchange->connection == nullptr || exchange->is_gone) {
        return;
    } else if (exchange->phase == ResponsePhase::kNone) {
        application_failed(exchange, "ASGI callable returned without starting response.", nullptr,
                           task);
    } else if (exchange->phase != ResponsePhase::kDone) {
        application_failed(exchange, "ASGI callable returned without completing response.", nullptr,
                           task);
    }
}

void task_done(Loop*, DoneCallback* self, PyObject* task) noexcept {
    application_done(as_exchange(self->owner), task);
}

constexpr DoneCallbackKind kTaskDone = {.qualified_name = "HttpServer._on_task_done",
                                        .source = nullptr,
                                        .child_done = task_done,
                                        .forget = nullptr};

// A loop whose create_task() is the program's, or that has no native tasks.
PyObject* task_of_another_make(Loop* loop, PyObject* coro) noexcept {
    return PyObject_CallMethodOneArg(object(loop), loop->state->str_create_task, coro);
}

bool watch_task(Exchange* exchange, PyObject* task) noexcept {
    State* state = exchange->server->loop->state;
    if (is_known_future(state, task)) {
        DoneCallback* callback =
            new_done_callback(state, &kTaskDone, {object(exchange), nullptr, nullptr, nullptr});
        Ref<> held = Ref<>::steal(object(callback));
        return callback != nullptr && expect_children(callback, 1) &&
               add_to_child(callback, as_base(task));
    }
    Ref<> callback = Ref<>::steal(PyObject_GetAttrString(object(exchange), "_on_task_done"));
    Ref<> added = Ref<>::steal(
        callback ? PyObject_CallMethodOneArg(task, state->str_add_done_callback, callback.get())
                 : nullptr);
    return static_cast<bool>(added);
}

void application_not_started(Exchange* exchange) noexcept {
    if (take_failure(exchange->server->loop)) return;
    application_failed(exchange, "Exception in ASGI application", take_exception(), nullptr);
}

// ---- who waits -------------------------------------------------------------------------------

bool still_waits(const State* state, PyObject* waiting) noexcept {
    return is_native_coroutine(waiting) ? !is_wait_over(as_coroutine(waiting))
                                        : is_pending(state, waiting);
}

// Waits that were cancelled stay in the list until somebody looks.
constexpr Py_ssize_t kMostUnlooked = 8;

bool add_waiting(Exchange* exchange, PyObject* waiting) noexcept {
    if (exchange->waiting == nullptr) exchange->waiting = PyList_New(0);
    if (exchange->waiting == nullptr) return false;
    if (PyList_GET_SIZE(exchange->waiting) >= kMostUnlooked) {
        Ref<> kept = Ref<>::steal(PyList_New(0));
        if (!kept) return false;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(exchange->waiting); ++i) {
            PyObject* each = PyList_GET_ITEM(exchange->waiting, i);
            if (still_waits(exchange->server->loop->state, each) &&
                PyList_Append(kept.get(), each) < 0)
                return false;
        }
        Py_SETREF(exchange->waiting, kept.release());
    }
    return PyList_Append(exchange->waiting, waiting) == 0;
}

}  // namespace

void wake_waiting(Exchange* exchange) noexcept {
    if (exchange->waiting == nullptr) return;
    Loop* loop = exchange->server->loop;
    Ref<> all = Ref<>::steal(std::exchange(exchange->waiting, nullptr));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all.get()); ++i) {
        PyObject* each = PyList_GET_ITEM(all.get(), i);
        if (is_native_coroutine(each))
            wake(as_coroutine(each));
        else
            complete_with_none(loop, each);
    }
}

PySendResult wait_in(Exchange* exchange, Coroutine* self, PyObject** result) noexcept {
    Loop* loop = exchange->server->loop;
    Loop* running = running_loop(loop->state);
    if (may_park(running) && running == loop) [[likely]]
        return add_waiting(exchange, object(self)) ? park(self, result) : fail(result);
    Ref<> future = create_future(object(loop));
    if (!future || !add_waiting(exchange, future.get())) return fail(result);
    return delegate_to_awaitable(self, future.get(), result);
}

bool has_run_long(const Exchange* exchange) noexcept {
    const Reactor* reactor = exchange->server->loop->reactor;
    return reactor != nullptr && coarse_now() - reactor->turn_time() >= Reactor::kSlice;
}

void take_back_head(Exchange* exchange) noexcept {
    if (exchange->phase != ResponsePhase::kStarted) return;
    exchange->connection->output->resize(exchange->head_begin);
    exchange->phase = ResponsePhase::kNone;
}

void lose_client(Exchange* exchange) noexcept {
    exchange->is_gone = true;
    Py_CLEAR(exchange->connection);
    wake_waiting(exchange);
}

std::size_t waiting_body(const Exchange* exchange) noexcept {
    std::size_t first = exchange->body != nullptr ? view_of_bytes(exchange->body).size() : 0;
    return first + (exchange->more_body != nullptr ? exchange->more_body->size() : 0);
}

bool add_body(Exchange* exchange, std::string_view piece) noexcept {
    if (exchange->body == nullptr) {
        exchange->body = bytes_of(piece);
        if (exchange->body == nullptr) return false;
    } else {
        try {
            if (exchange->more_body == nullptr) exchange->more_body = new std::string;
            exchange->more_body->append(piece);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return false;
        }
    }
    wake_waiting(exchange);
    return true;
}

void start_application(Exchange* exchange) noexcept {
    HttpServer* server = exchange->server;
    Loop* loop = server->loop;
    Ref<> receiver = Ref<>::steal(new_receiver(exchange));
    if (!receiver) return application_not_started(exchange);
    Ref<> app = Ref<>::borrow(server->app);
    PyObject* args[] = {nullptr, exchange->scope, receiver.get(), object(exchange)};
    Ref<> coro = Ref<>::steal(
        PyObject_Vectorcall(app.get(), args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    if (!coro) return application_not_started(exchange);
    Ref<> task =
        Ref<>::steal(makes_tasks_natively(loop) ? new_task(loop, coro.get(), nullptr, nullptr, true)
                                                : task_of_another_make(loop, coro.get()));
    if (!task) return application_not_started(exchange);
    bool is_over =
        is_known_future(loop->state, task.get()) && as_base(task.get())->state != kPending;
    if (is_over) return application_done(exchange, task.get());
    exchange->task = Py_NewRef(task.get());
    if (!watch_task(exchange, task.get()) || PySet_Add(server->service->running, task.get()) < 0)
        PyErr_WriteUnraisable(task.get());
}

// ---- the type --------------------------------------------------------------------------------

namespace {

PyObject* on_task_done(PyObject* self, PyObject* task) {
    application_done(as_exchange(self), task);
    Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Exchange* exchange = as_exchange(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(exchange->server));
    Py_VISIT(object(exchange->connection));
    Py_VISIT(exchange->scope);
    Py_VISIT(exchange->headers);
    Py_VISIT(exchange->task);
    Py_VISIT(exchange->waiting);
    return 0;
}

// The server stays: who calls send() later asks it for its names.
int clear(PyObject* self) {
    Exchange* exchange = as_exchange(self);
    Py_CLEAR(exchange->connection);
    Py_CLEAR(exchange->scope);
    Py_CLEAR(exchange->headers);
    Py_CLEAR(exchange->task);
    Py_CLEAR(exchange->waiting);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    Exchange* exchange = as_exchange(self);
    clear(self);
    delete std::exchange(exchange->websocket, nullptr);
    Py_CLEAR(exchange->body);
    delete std::exchange(exchange->more_body, nullptr);
    Py_CLEAR(exchange->server);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {{"_on_task_done", on_task_done, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Exchange, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("One request and its response: the application's `send`.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, nullptr}};

PyType_Spec spec = {"penstock._core.Exchange", sizeof(Exchange), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                        Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

Exchange* new_exchange(HttpConnection* connection, const http1::Request& request) noexcept {
    PyTypeObject* type = connection->server->loop->state->exchange;
    Ref<> scope = Ref<>::steal(new_scope(connection, request));
    if (!scope) return nullptr;
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    Exchange* exchange = as_exchange(made);
    exchange->vectorcall = call_send;
    exchange->server = as_http_server(Py_NewRef(object(connection->server)));
    exchange->connection = as_http_connection(Py_NewRef(object(connection)));
    exchange->scope = scope.release();
    exchange->is_head = request.method == "HEAD";
    exchange->is_1_0 = request.minor == 0;
    // To a proxy in front what follows a CONNECT that gets a 2xx is no HTTP, but its client's
    // tunnel (RFC 9110, 9.3.6): none of it is read as a request.
    exchange->keeps_alive = request.keeps_alive && request.method != "CONNECT" &&
                            !connection->server->service->is_draining;
    exchange->expects_continue = request.expects_continue;
    return exchange;
}

bool add_receiver_types(PyObject* module, State* state);
bool add_send_type(PyObject* module, State* state);

bool add_exchange_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->exchange) && add_receiver_types(module, state) &&
           add_send_type(module, state);
}

}  // namespace penstock::py
