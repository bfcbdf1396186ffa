#include "asgi/http_server.h"

#include <new>

#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/scope.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "py/types.h"

namespace penstock::py {

// ---- departures ------------------------------------------------------------------------------

void Departures::add(HttpConnection* connection) noexcept {
    try {
        waiting_.push_back(connection);
    } catch (const std::bad_alloc&) {
        depart(connection);
        return Py_DECREF(object(connection));
    }
    if (is_scheduled_) return;
    Loop* loop = server_->loop;
    is_scheduled_ =
        loop->reactor != nullptr &&
        loop->reactor->try_push(make_word(WordKind::kCompletion, static_cast<Completion*>(this)));
    if (is_scheduled_)
        Py_INCREF(object(server_));
    else
        send_all();
}

void Departures::send_all() noexcept {
    std::vector<HttpConnection*> leaving = std::exchange(waiting_, {});
    for (HttpConnection* connection : leaving) {
        depart(connection);
        Py_DECREF(object(connection));
    }
    leaving.clear();
    if (waiting_.empty()) waiting_ = std::move(leaving);  // its memory serves again
}

void Departures::complete(Loop*) noexcept {
    Ref<HttpServer> server = Ref<HttpServer>::steal(server_);
    is_scheduled_ = false;
    send_all();
}

void Departures::drop() noexcept {
    Ref<HttpServer> server = Ref<HttpServer>::steal(server_);
    is_scheduled_ = false;
    for (HttpConnection* connection : std::exchange(waiting_, {})) Py_DECREF(object(connection));
}

// ---- the pool --------------------------------------------------------------------------------

std::unique_ptr<std::string> OutputPool::take() {
    if (count_ > 0) return std::move(idle_[--count_]);
    constexpr std::size_t kUsual = 4096;
    auto made = std::make_unique<std::string>();
    made->reserve(kUsual);
    return made;
}

void OutputPool::give_back(std::unique_ptr<std::string> output) noexcept {
    if (count_ == kMostKept || output->capacity() > kLargestKept) return;
    output->clear();
    idle_[count_++] = std::move(output);
}

// ---- options ---------------------------------------------------------------------------------

namespace {

// One of the numbers in the dict of options, borrowed; nullptr with an exception set where it is
// missing. The package fills it in, and has checked what its user gave.
PyObject* option(PyObject* options, const char* name) noexcept {
    PyObject* value = PyDict_GetItemString(options, name);
    if (value == nullptr) PyErr_Format(PyExc_TypeError, "HttpServer: option %s is missing", name);
    return value;
}

template <class Number>
bool read_number(PyObject* options, const char* name, Number& out) noexcept {
    PyObject* value = option(options, name);
    unsigned long long number = value != nullptr ? PyLong_AsUnsignedLongLong(value) : 0;
    out = static_cast<Number>(number);
    return PyErr_Occurred() == nullptr;
}

// Seconds.
bool read_duration(PyObject* options, const char* name, Duration& out) noexcept {
    PyObject* value = option(options, name);
    double seconds = value != nullptr ? PyFloat_AsDouble(value) : 0;
    out = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    return PyErr_Occurred() == nullptr;
}

bool read_flag(PyObject* options, const char* name, bool& out) noexcept {
    PyObject* value = option(options, name);
    int flag = value != nullptr ? PyObject_IsTrue(value) : -1;
    out = flag > 0;
    return flag >= 0;
}

bool read_options(HttpService* service, PyObject* options) noexcept {
    http1::Limits& limits = service->limits;
    Deadlines& deadlines = service->deadlines;
    return read_number(options, "limit_target", limits.target_bytes) &&
           read_number(options, "limit_head", limits.head_bytes) &&
           read_number(options, "limit_fields", limits.fields) &&
           read_number(options, "limit_body", limits.body_bytes) &&
           read_number(options, "limit_chunk_extension", limits.chunk_extension_bytes) &&
           read_number(options, "limit_trailers", limits.trailer_bytes) &&
           read_number(options, "limit_connections", service->most_connections) &&
           read_number(options, "surplus_connections", service->most_surplus) &&
           read_number(options, "limit_pipelined", service->most_pipelined) &&
           read_number(options, "body_rate", deadlines.body_rate) &&
           read_duration(options, "timeout_head", deadlines.head) &&
           read_duration(options, "timeout_body", deadlines.body) &&
           read_duration(options, "timeout_body_grace", deadlines.body_grace) &&
           read_duration(options, "timeout_keep_alive", deadlines.keep_alive) &&
           read_duration(options, "timeout_request", deadlines.request) &&
           read_duration(options, "timeout_write", deadlines.write) &&
           read_duration(options, "timeout_linger", deadlines.linger) &&
           read_flag(options, "log_headers", service->logs_headers) &&
           read_duration(options, "timeout_drain", deadlines.drain) &&
           read_flag(options, "date_header", service->has_date);
}

bool read_websocket_options(WebSocketSettings& settings, PyObject* options) noexcept {
    websocket::Limits& limits = settings.limits;
    return read_flag(options, "takes_websockets", settings.is_on) &&
           read_number(options, "ws_max_size", limits.message_bytes) &&
           read_number(options, "ws_max_queue", settings.most_queued) &&
           read_number(options, "limit_ws_fragments", limits.free_fragments) &&
           read_number(options, "limit_ws_inflation", limits.inflation) &&
           read_duration(options, "ws_ping_interval", settings.ping_interval) &&
           read_duration(options, "ws_ping_timeout", settings.ping_timeout) &&
           read_duration(options, "ws_close_timeout", settings.close_timeout) &&
           read_flag(options, "ws_per_message_deflate", settings.deflates);
}

// The lines that each response gets: [(name, value), …] in bytes, and the name of the server in
// bytes, or None.
bool read_headers(HttpService* service, PyObject* options) noexcept {
    PyObject* server = option(options, "server_header");
    PyObject* headers = server != nullptr ? option(options, "headers") : nullptr;
    Ref<> list = Ref<>::steal(headers != nullptr ? PySequence_List(headers) : nullptr);
    if (!list) return false;
    try {
        if (PyBytes_Check(server))
            http1::append_field(service->server_line, "server", view_of_bytes(server));
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.get()); ++i) {
            std::string_view name, value;
            Ref<> pair = read_field(PyList_GET_ITEM(list.get(), i), name, value);
            if (!pair) return false;
            service->is_date_given |= equals_ignoring_case(name, "date");
            service->is_server_given |= equals_ignoring_case(name, "server");
            http1::append_field(service->head_lines, name, value);
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* call(PyObject* self, PyObject* const*, std::size_t, PyObject*) {
    return object(new_http_connection(as_http_server(self)));
}

template <class Body>
void for_each_connection(HttpServer* server, Body body) noexcept {
    Ref<HttpServer> held = Ref<HttpServer>::borrow(server);
    std::vector<Ref<HttpConnection>> all;
    try {
        all.reserve(server->service->connections.size());
    } catch (const std::bad_alloc&) {
        return;  // next time
    }
    for (HttpConnection* connection : server->service->connections)
        all.push_back(Ref<HttpConnection>::borrow(connection));
    for (Ref<HttpConnection>& connection : all) body(connection.get());
}

PyObject* check_all_deadlines(PyObject* self, PyObject*) {
    HttpServer* server = as_http_server(self);
    if (server->loop->reactor == nullptr) Py_RETURN_NONE;
    TimePoint time = server->loop->reactor->turn_time();
    for_each_connection(server, [time](HttpConnection* connection) {
        if (connection->transport != nullptr) check_deadlines(connection, time);
    });
    Py_RETURN_NONE;
}

// drain(restarts=False)
PyObject* drain(PyObject* self, PyObject* args, PyObject* keywords) {
    static const char* kNames[] = {"restarts", nullptr};
    int restarts = 0;
    if (PyArg_ParseTupleAndKeywords(args, keywords, "|p", const_cast<char**>(kNames), &restarts) ==
        0)
        return nullptr;
    HttpServer* server = as_http_server(self);
    server->service->is_draining = true;
    std::uint16_t code = restarts != 0 ? websocket::kServiceRestart : websocket::kGoingAway;
    server->service->leaving = code;
    for_each_connection(server, [code](HttpConnection* connection) {
        if (connection->phase == HttpPhase::kWebSocket && connection->exchange != nullptr)
            leave_websocket(connection->exchange, code);
        else if (connection->exchange != nullptr)
            connection->exchange->keeps_alive = false;
    });
    // Whoever has been idle for long goes now. The others may have sent a request that is still on
    // its way: they have a moment for it, and are told in the response that it was the last.
    return check_all_deadlines(self, nullptr);
}

PyObject* abort_all(PyObject* self, PyObject*) {
    HttpServer* server = as_http_server(self);
    for_each_connection(server, abort_connection);
    Ref<> tasks = Ref<>::steal(PySequence_List(server->service->running));
    if (!tasks) return nullptr;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tasks.get()); ++i) {
        Ref<> cancelled = Ref<>::steal(PyObject_CallMethod(
            PyList_GET_ITEM(tasks.get(), i), "cancel", "s", "the server is shutting down"));
        if (!cancelled) return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* metrics(PyObject* self, PyObject*) {
    const HttpService* service = as_http_server(self)->service;
    Py_ssize_t in_flight = 0, websockets = 0;
    for (const HttpConnection* connection : service->connections)
        if (connection->exchange != nullptr)
            ++(connection->phase == HttpPhase::kWebSocket ? websockets : in_flight);
    Ref<> dict = Ref<>::steal(dict_of_metrics(service->metrics));
    Ref<> rest = Ref<>::steal(
        dict ? Py_BuildValue("{sKsnsnsn}", "requests",
                             static_cast<unsigned long long>(service->requests), "in_flight",
                             in_flight, "websockets", websockets, "connections",
                             static_cast<Py_ssize_t>(service->connections.size()))
             : nullptr);
    bool done = rest && PyDict_Update(dict.get(), rest.get()) == 0;
    return done ? dict.release() : nullptr;
}

PyObject* get_running(PyObject* self, void*) {
    return PyLong_FromSsize_t(PySet_GET_SIZE(as_http_server(self)->service->running));
}

PyObject* get_connections(PyObject* self, void*) {
    return PyLong_FromSize_t(as_http_server(self)->service->connections.size());
}

PyObject* get_requests(PyObject* self, void*) {
    return PyLong_FromUnsignedLongLong(as_http_server(self)->service->requests);
}

// ---- the type --------------------------------------------------------------------------------

bool make_templates(HttpServer* server) noexcept {
    const AsgiNames& names = server->service->names;
    server->asgi = Py_BuildValue("{OsOs}", names.version, "3.0", names.spec_version, "2.5");
    server->scope_template = Py_BuildValue(
        "{OOOOOOOOOO}", names.type, names.http, names.http_version, names.version_1_1, names.server,
        Py_None, names.client, Py_None, names.root_path, server->root_path);
    return server->asgi != nullptr && server->scope_template != nullptr;
}

// HttpServer(loop, app, options): options is a dict with all that is read here.
PyObject* new_server(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *loop, *app, *options;
    State* state = state_of_exact_type(type);
    if (!PyArg_ParseTuple(args, "O!OO!", state->loop, &loop, &app, &PyDict_Type, &options))
        return nullptr;
    Ref<> made = Ref<>::steal(type->tp_alloc(type, 0));
    if (!made) return nullptr;
    HttpServer* server = as_http_server(made.get());
    server->vectorcall = call;
    server->loop = as_loop(Py_NewRef(loop));
    server->app = Py_NewRef(app);
    server->service = new (std::nothrow) HttpService(server);
    if (server->service == nullptr) return PyErr_NoMemory();
    server->service->running = PySet_New(nullptr);
    if (server->service->running == nullptr) return nullptr;
    for (auto [field, name] :
         {std::pair(&HttpServer::root_path, "root_path"), std::pair(&HttpServer::state, "state"),
          std::pair(&HttpServer::extensions, "extensions"),
          std::pair(&HttpServer::log_access, "log_access"),
          std::pair(&HttpServer::open_file, "open_file"),
          std::pair(&HttpServer::describe_tls, "describe_tls"),
          std::pair(&HttpServer::forwarded, "forwarded"),
          std::pair(&HttpServer::log_error, "log_error")}) {
        PyObject* value = option(options, name);
        if (value == nullptr) return nullptr;
        server->*field = Py_NewRef(value);
    }
    bool done = server->service->names.fill() && read_options(server->service, options) &&
                read_websocket_options(server->service->websockets, options) &&
                read_headers(server->service, options) && make_templates(server);
    return done ? made.release() : nullptr;
}

constexpr PyObject* HttpServer::*kFields[] = {
    &HttpServer::app,          &HttpServer::root_path,
    &HttpServer::state,        &HttpServer::extensions,
    &HttpServer::log_access,   &HttpServer::open_file,
    &HttpServer::describe_tls, &HttpServer::log_error,
    &HttpServer::asgi,         &HttpServer::scope_template,
    &HttpServer::forwarded};

int traverse(PyObject* self, visitproc visit, void* arg) {
    HttpServer* server = as_http_server(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(server->loop));
    if (server->service != nullptr) Py_VISIT(server->service->running);
    for (PyObject* HttpServer::*field : kFields) Py_VISIT(server->*field);
    return 0;
}

// Connections may outlive it by a while, and ask it for what it has.
int clear(PyObject* self) {
    for (PyObject* HttpServer::*field : kFields)
        Py_XSETREF(as_http_server(self)->*field, Py_NewRef(Py_None));
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    HttpServer* server = as_http_server(self);
    for (PyObject* HttpServer::*field : kFields) Py_CLEAR(server->*field);
    if (server->service != nullptr) Py_CLEAR(server->service->running);
    delete std::exchange(server->service, nullptr);
    Py_XDECREF(object(server->loop));
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {
    {"check_deadlines", check_all_deadlines, METH_NOARGS,
     "check_deadlines($self)\n--\n\nEnd what has taken too long; to be called about once a "
     "second."},
    {"drain", method(drain), METH_VARARGS | METH_KEYWORDS,
     "drain($self, restarts=False)\n--\n\n"
     "Close idle connections now or soon, and the others after their response; WebSockets with "
     "1001,\nor with 1012 where another server takes over."},
    {"abort", abort_all, METH_NOARGS,
     "abort($self)\n--\n\nClose all connections at once and cancel what is under way."},
    {"metrics", metrics, METH_NOARGS,
     "metrics($self)\n--\n\nWhat has been counted since the start, and how many are under way."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"connections", get_connections, nullptr, "How many are open.", nullptr},
    {"requests", get_requests, nullptr, "How many have begun since the start.", nullptr},
    {"running", get_running, nullptr, "How many applications have not returned.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(HttpServer, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("HttpServer(loop, app, options)\n--\n\nA protocol factory.")},
    {Py_tp_new, reinterpret_cast<void*>(new_server)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_members, members},
    {0, nullptr}};

PyType_Spec spec = {
    "penstock._core.HttpServer", sizeof(HttpServer), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    slots};

}  // namespace

void log_http_error(HttpServer* server, const char* message, PyObject* exception, PyObject* task,
                    PyObject* scope) noexcept {
    Ref<> raised = Ref<>::steal(exception);
    auto or_none = [](PyObject* value) { return value != nullptr ? value : Py_None; };
    Ref<> done = Ref<>::steal(PyObject_CallFunction(
        server->log_error, "sOOO", message, or_none(raised.get()), or_none(task), or_none(scope)));
    if (!done && !take_failure(server->loop)) PyErr_WriteUnraisable(server->log_error);
}

bool add_http_connection_type(PyObject* module, State* state);

bool add_asgi_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->http_server) &&
           add_http_connection_type(module, state) && add_exchange_types(module, state);
}

}  // namespace penstock::py
