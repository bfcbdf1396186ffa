#include "asgi/http_connection.h"

#include <new>

#include "asgi/exchange.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "py/types.h"
#include "reactor/reactor.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

constexpr std::size_t kMostRequestsATurn = 16;
constexpr std::size_t kMostBodyWaiting = std::size_t{64} * 1024;
constexpr std::uint64_t kMostDiscarded = std::uint64_t{256} * 1024;

TimePoint turn_time(const HttpConnection* connection) noexcept {
    Reactor* reactor = connection->server->loop->reactor;
    return reactor != nullptr ? reactor->turn_time() : now();
}

void enter(HttpConnection* connection, HttpPhase phase) noexcept {
    connection->phase = phase;
    connection->since = turn_time(connection);
}

bool is_native(const HttpConnection* connection) noexcept {
    return Py_TYPE(connection->transport) == connection->server->loop->state->transport;
}

// Calls a method of the transport; what it raises is told, and the connection goes on.
bool call_transport(HttpConnection* connection, const char* name) noexcept {
    if (connection->transport == nullptr) return true;
    Ref<> transport = Ref<>::borrow(connection->transport);
    Ref<> done = Ref<>::steal(PyObject_CallMethod(transport.get(), name, nullptr));
    if (!done && !take_failure(connection->server->loop)) PyErr_WriteUnraisable(transport.get());
    return static_cast<bool>(done);
}

bool is_closing(const HttpConnection* connection) noexcept {
    return connection->transport == nullptr || connection->phase == HttpPhase::kLingering;
}

}  // namespace

bool pause_reading(HttpConnection* connection) noexcept {
    if (connection->is_read_paused) return true;
    connection->is_read_paused = true;
    return call_transport(connection, "pause_reading");
}

bool resume_reading(HttpConnection* connection) noexcept {
    if (!connection->is_read_paused) return true;
    connection->is_read_paused = false;
    return call_transport(connection, "resume_reading");
}

namespace {

// A client that still sends when we close may never see what was answered: the kernel resets the
// connection. So our half is closed, and the rest of its is thrown away for a while. Of TLS no half
// can be closed: there the client, which knows that this was the last response, closes first. But a
// WebSocket's waits for us to do so: RFC 6455, 7.1.1.
void linger(HttpConnection* connection) noexcept {
    if (connection->transport == nullptr) return;
    bool is_awaited = connection->is_tls && connection->phase == HttpPhase::kWebSocket;
    if (connection->is_half_closed || is_awaited) {
        call_transport(connection, "close");
        return;
    }
    enter(connection, HttpPhase::kLingering);
    resume_reading(connection);
    if (connection->transport == nullptr || connection->is_tls) return;
    Ref<> transport = Ref<>::borrow(connection->transport);
    Ref<> done = Ref<>::steal(PyObject_CallMethod(transport.get(), "write_eof", nullptr));
    if (done) return;
    // It has hung up already, and reading would tell so later.
    if (!PyErr_ExceptionMatches(PyExc_OSError)) PyErr_WriteUnraisable(transport.get());
    PyErr_Clear();
    abort_connection(connection);
}

}  // namespace

bool has_all_requests(HttpConnection* connection) noexcept {
    return connection->is_half_closed && connection->parser().unused().empty();
}

void refuse(HttpConnection* connection, int status, const char* reason) noexcept {
    connection->closes = true;
    Ref<Exchange> exchange = Ref<Exchange>::borrow(connection->exchange);
    if (exchange && exchange->phase != ResponsePhase::kNone) return abort_connection(connection);
    // Its request has been answered, and no second answer may be taken for the next one's.
    if (!exchange && connection->phase == HttpPhase::kBody) return;
    if (exchange) {
        exchange->keeps_alive = false;
        if (answer(exchange.get(), status, reason)) return;
    } else if (std::string* output = output_of(connection); output != nullptr) {
        try {
            append_refusal(*output, connection->server, status, reason);
            connection->server->service->metrics.count_response(status);
            return;
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
        }
    }
    PyErr_WriteUnraisable(object(connection));
    abort_connection(connection);
}

namespace {

bool begin_request(HttpConnection* connection, const websocket::Handshake* handshake) noexcept {
    const http1::Request& request = connection->parser().request();
    ++connection->server->service->requests;
    connection->begun = turn_time(connection);
    expect_body(connection);
    connection->exchange = handshake != nullptr
                               ? new_websocket_exchange(connection, request, *handshake)
                               : new_exchange(connection, request);
    enter(connection, HttpPhase::kBody);
    return connection->exchange != nullptr;
}

// A piece of a body. What nobody will read is thrown away, within bounds.
bool take_data(HttpConnection* connection) noexcept {
    std::string_view data = connection->parser().data();
    connection->body_bytes += data.size();
    connection->since = turn_time(connection);
    if (connection->exchange != nullptr) return add_body(connection->exchange, data);
    if (connection->body_bytes > kMostDiscarded) connection->closes = true;
    return true;
}

void end_request(HttpConnection* connection) noexcept {
    if (Exchange* exchange = connection->exchange; exchange != nullptr) {
        exchange->is_body_complete = true;
        enter(connection, HttpPhase::kAnswering);
        wake_waiting(exchange);
    } else {
        enter(connection, HttpPhase::kIdle);
    }
}

// Whether the parser has to wait: for the response to the request before, or for the application,
// which does not read its body.
bool must_wait(const HttpConnection* connection) noexcept {
    const Exchange* exchange = connection->exchange;
    return exchange != nullptr &&
           (exchange->is_body_complete || waiting_body(exchange) >= kMostBodyWaiting);
}

// What is fed and cannot be looked at yet: whole requests, unless they are looked at as they come.
// Throws std::bad_alloc.
void hold_back(HttpConnection* connection, bool waits) {
    http1::RequestParser& parser = connection->parser();
    parser.hold();
    bool is_full = waits && parser.unused().size() > connection->server->service->most_pipelined;
    bool is_slow =
        connection->exchange != nullptr && waiting_body(connection->exchange) >= kMostBodyWaiting;
    if (is_full || is_slow) pause_reading(connection);
}

// One event of the parser. False where nothing more can be had now.
bool step(HttpConnection* connection, Ref<Exchange>& unstarted) {
    switch (connection->parser().next()) {
        case http1::Event::kNeedMore: {
            if (connection->phase == HttpPhase::kIdle && connection->parser().is_amid_request())
                enter(connection, HttpPhase::kHead);
            return false;
        }
        case http1::Event::kHead: {
            std::optional<websocket::Handshake> handshake;
            if (connection->server->service->websockets.is_on &&
                asks_for_websocket(connection->parser().request())) {
                handshake = handshake_of(connection->parser().request());
                auto [status, reason] = handshake->verdict();
                if (status != 0) return refuse(connection, status, reason), false;
            }
            if (!begin_request(connection, handshake ? &*handshake : nullptr)) {
                PyErr_WriteUnraisable(object(connection));
                return abort_connection(connection), false;
            }
            unstarted = Ref<Exchange>::borrow(connection->exchange);
            return true;
        }
        case http1::Event::kData:
            if (take_data(connection))
                return !connection->closes || connection->exchange != nullptr;
            PyErr_WriteUnraisable(object(connection));
            return abort_connection(connection), false;
        case http1::Event::kTrailers: return true;  // ASGI has no place for a request's
        case http1::Event::kEnd: end_request(connection); return true;
        case http1::Event::kRefused: {
            const http1::Refusal& refusal = connection->parser().refusal();
            unstarted = {};
            refuse(connection, refusal.status, refusal.reason);
            return false;
        }
    }
    return false;
}

// The rest of a body never comes: nobody is told of it who has not begun, and who has is told now.
bool lacks_body(const HttpConnection* connection) noexcept {
    const Exchange* exchange = connection->exchange;
    return connection->is_half_closed && !connection->closes && exchange != nullptr &&
           !exchange->is_body_complete && exchange->websocket == nullptr;
}

// Lets the parser read what there is, and the application answer. An application starts when all of
// its request that has come already has been looked at: it gets it in one piece.
void pump(HttpConnection* connection) noexcept {
    connection->is_pumping = true;
    Ref<Exchange> unstarted;
    std::size_t requests = 0;
    try {
        bool goes_on = true;
        while (goes_on && !is_closing(connection)) {
            if (!must_wait(connection)) {
                goes_on = step(connection, unstarted);
                if (!goes_on && lacks_body(connection)) {
                    unstarted = {};
                    lose_client(connection->exchange);
                    close_connection(connection);
                }
            }
            if (unstarted && (!goes_on || must_wait(connection))) {
                Ref<Exchange> starting = std::exchange(unstarted, Ref<Exchange>());
                start_application(starting.get());
                ++requests;
            }
            bool is_over = connection->closes && connection->exchange == nullptr;
            if (is_over || must_wait(connection) || requests == kMostRequestsATurn) goes_on = false;
        }
        bool waits = must_wait(connection) || requests == kMostRequestsATurn;
        if (connection->transport != nullptr) hold_back(connection, waits);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        PyErr_WriteUnraisable(object(connection));
        abort_connection(connection);
    }
    connection->is_pumping = false;
    if (requests == kMostRequestsATurn) depart_soon(connection);
}

// All but a head that may still become another's: what stands before it.
bool send_all_but_open_head(HttpConnection* connection) noexcept {
    Exchange* exchange = connection->exchange;
    if (exchange == nullptr || exchange->phase != ResponsePhase::kStarted)
        return send_output(connection, nullptr);
    if (exchange->head_begin == 0) return true;
    try {
        std::string head = connection->output->substr(exchange->head_begin);
        connection->output->resize(exchange->head_begin);
        exchange->head_begin = 0;
        if (!send_output(connection, nullptr)) return false;
        std::string* output = output_of(connection);
        if (output == nullptr) return false;
        output->assign(head);
        return true;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

}  // namespace

void send_and_settle(HttpConnection* connection) noexcept {
    if (connection->output != nullptr && !send_all_but_open_head(connection))
        PyErr_WriteUnraisable(object(connection));
    if (connection->closes && connection->exchange == nullptr && !is_closing(connection))
        close_connection(connection);
}

namespace {

constexpr std::size_t kNowhere = SIZE_MAX;

// It has a transport now, or will never have one.
void note_made(HttpConnection* connection) noexcept {
    if (std::exchange(connection->is_unmade, false)) --connection->server->service->unmade;
}

bool list(HttpConnection* connection) noexcept {
    std::vector<HttpConnection*>& all = connection->server->service->connections;
    note_made(connection);
    if (connection->place != kNowhere) return true;
    try {
        all.push_back(connection);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    connection->place = all.size() - 1;
    return true;
}

void unlist(HttpConnection* connection) noexcept {
    note_made(connection);
    if (connection->place == kNowhere) return;
    std::vector<HttpConnection*>& all = connection->server->service->connections;
    all.back()->place = connection->place;
    all[connection->place] = all.back();
    all.pop_back();
    connection->place = kNowhere;
}

}  // namespace

std::string* output_of(HttpConnection* connection) noexcept {
    if (connection->output == nullptr) {
        try {
            connection->output = connection->server->service->outputs.take().release();
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
        }
    }
    return connection->output;
}

void depart_soon(HttpConnection* connection) noexcept {
    if (connection->is_pumping || connection->is_departing) return;
    connection->is_departing = true;
    Py_INCREF(object(connection));
    connection->server->service->departures.add(connection);
}

bool send_output(HttpConnection* connection, PyObject* body) noexcept {
    OutputPool& pool = connection->server->service->outputs;
    std::unique_ptr<std::string> output(std::exchange(connection->output, nullptr));
    if (connection->transport == nullptr) {
        if (output) pool.give_back(std::move(output));
        return true;
    }
    Ref<> transport = Ref<>::borrow(connection->transport);
    std::uint64_t& sent = connection->server->service->metrics.sent;
    if (output != nullptr) sent += output->size();
    if (body != nullptr) sent += view_of_bytes(body).size();
    bool done;
    if (is_native(connection) && body == nullptr) {
        done = output == nullptr || write_bytes(as_transport(transport.get()),
                                                std::as_bytes(std::span<const char>(*output)));
    } else {
        Ref<> head = Ref<>::steal(bytes_of(output ? std::string_view(*output) : ""));
        Ref<> pieces =
            Ref<>::steal(head ? PyTuple_Pack(body != nullptr ? 2 : 1, head.get(), body) : nullptr);
        Ref<> result = Ref<>::steal(
            pieces ? PyObject_CallMethod(transport.get(), "writelines", "(O)", pieces.get())
                   : nullptr);
        done = static_cast<bool>(result);
    }
    if (output) pool.give_back(std::move(output));
    return done;
}

void depart(HttpConnection* connection) noexcept {
    connection->is_departing = false;
    send_and_settle(connection);
    if (is_closing(connection) || must_wait(connection) || connection->closes) return;
    // The end of a body may be all that the parser has still to tell.
    if (connection->phase == HttpPhase::kBody || !connection->parser().unused().empty()) {
        pump(connection);
        send_and_settle(connection);
    }
    // The rest of its pipeline was no whole request, or none.
    if (connection->is_half_closed && connection->exchange == nullptr && !connection->is_departing)
        return close_connection(connection);
    // With more of a pipeline than it may have, the next departure is due already.
    bool is_full = connection->is_departing && connection->is_read_paused;
    if (!must_wait(connection) && !is_closing(connection) && !is_full) resume_reading(connection);
}

void response_done(HttpConnection* connection) noexcept {
    Ref<Exchange> exchange = Ref<Exchange>::steal(std::exchange(connection->exchange, nullptr));
    bool stays = exchange->keeps_alive && !has_all_requests(connection);
    if (!stays) connection->closes = true;
    enter(connection, exchange->is_body_complete ? HttpPhase::kIdle : HttpPhase::kBody);
    expect_body(connection);
    depart_soon(connection);
}

void close_connection(HttpConnection* connection) noexcept {
    if (connection->transport == nullptr) return;
    bool is_clean = connection->phase == HttpPhase::kIdle && connection->parser().unused().empty();
    if (!is_clean) return linger(connection);
    call_transport(connection, "close");
}

// The output stays until the connection is lost: somebody may be writing into it.
void abort_connection(HttpConnection* connection) noexcept {
    connection->closes = true;
    // Before its transport says so: what the application still sends has nowhere to go.
    if (connection->exchange != nullptr) connection->exchange->is_gone = true;
    call_transport(connection, "abort");
}

void become_websocket(HttpConnection* connection) noexcept {
    enter(connection, HttpPhase::kWebSocket);
    connection->parser() = http1::RequestParser(connection->server->service->limits);
}

bool resume_body(HttpConnection* connection) noexcept {
    if (!connection->is_read_paused || must_wait(connection)) return true;
    expect_body(connection);
    depart_soon(connection);
    return resume_reading(connection);
}

void expect_body(HttpConnection* connection) noexcept {
    connection->since = connection->measured = turn_time(connection);
    connection->body_bytes = 0;
}

bool describe_connection(HttpConnection* connection) noexcept {
    if (connection->client != nullptr) return true;
    Ref<> transport = Ref<>::borrow(connection->transport);
    Ref<> peer =
        Ref<>::steal(PyObject_CallMethod(transport.get(), "get_extra_info", "s", "peername"));
    Ref<> local = Ref<>::steal(
        peer ? PyObject_CallMethod(transport.get(), "get_extra_info", "s", "sockname") : nullptr);
    if (!local) return false;
    auto first_two = [](PyObject* address) -> PyObject* {
        if (PyTuple_Check(address) && PyTuple_GET_SIZE(address) >= 2)
            return PyTuple_GetSlice(address, 0, 2);
        return Py_NewRef(Py_None);
    };
    Ref<> client = Ref<>::steal(first_two(peer.get()));
    bool is_path = PyUnicode_Check(local.get()) && PyUnicode_GET_LENGTH(local.get()) > 0;
    Py_XSETREF(connection->local,
               is_path ? PyTuple_Pack(2, local.get(), Py_None) : first_two(local.get()));
    connection->is_tls = Py_TYPE(transport.get()) == connection->server->loop->state->tls_transport;
    if (connection->is_tls) {
        Ref<> tls =
            Ref<>::steal(PyObject_CallOneArg(connection->server->describe_tls, transport.get()));
        if (!tls) return false;
        Py_XSETREF(connection->tls, tls.release());
    }
    connection->client = client.release();
    return connection->client != nullptr && connection->local != nullptr;
}

// ---- the transport's calls -------------------------------------------------------------------

HttpConnection* HttpLink::connection() noexcept {
    return reinterpret_cast<HttpConnection*>(reinterpret_cast<std::byte*>(this) - sizeof(PyObject));
}

bool HttpLink::on_bytes(std::span<const std::byte> bytes) noexcept {
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(this->connection());
    HttpConnection* self = connection.get();
    self->server->service->metrics.received += bytes.size();
    if (is_closing(self) || self->closes) {
        // Of a client that may send more of a body that nobody reads.
        return true;
    }
    if (self->phase == HttpPhase::kWebSocket) return feed_websocket(self->exchange, bytes);
    try {
        self->parser().feed(bytes);
        if (self->is_pumping || must_wait(self)) {
            hold_back(self, true);
            return true;
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    pump(self);
    send_and_settle(self);
    return true;
}

int HttpLink::on_eof() noexcept {
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(this->connection());
    HttpConnection* self = connection.get();
    self->is_half_closed = true;
    if (is_closing(self) || self->is_tls) return 0;
    if (Exchange* exchange = self->exchange; exchange != nullptr) {
        // It may have shut down one direction only, and wait for the response; or it is gone.
        bool can_answer = exchange->is_body_complete && exchange->websocket == nullptr;
        if (!can_answer) lose_client(exchange);
        wake_waiting(exchange);
        return can_answer ? 1 : 0;
    }
    return self->is_departing ? 1 : 0;  // the rest of a pipeline is due
}

bool HttpLink::on_pause_writing() noexcept {
    connection()->is_write_paused = true;
    return true;
}

bool HttpLink::on_resume_writing() noexcept {
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(this->connection());
    connection->is_write_paused = false;
    if (Ref<Exchange> exchange = Ref<Exchange>::borrow(connection->exchange); exchange) {
        if (exchange->websocket != nullptr) websocket_writable(exchange.get());
        wake_waiting(exchange.get());
    }
    return true;
}

bool HttpLink::on_lost(PyObject*) noexcept {
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(this->connection());
    HttpConnection* self = connection.get();
    unlist(self);
    self->closes = true;
    Ref<> transport = Ref<>::steal(std::exchange(self->transport, nullptr));
    if (self->output != nullptr)
        send_output(self, nullptr);  // there is nobody: the memory goes back
    Ref<Exchange> exchange = Ref<Exchange>::steal(std::exchange(self->exchange, nullptr));
    if (exchange) {
        if (exchange->phase != ResponsePhase::kUpgraded) ++self->server->service->metrics.lost;
        lose_client(exchange.get());
    }
    return true;
}

// ---- the type --------------------------------------------------------------------------------

namespace {

std::size_t count_of(const HttpService* service) noexcept {
    return service->connections.size() + service->unmade;
}

PyObject* connection_made(PyObject* self, PyObject* transport) {
    HttpConnection* connection = as_http_connection(self);
    HttpService* service = connection->server->service;
    Py_XSETREF(connection->transport, Py_NewRef(transport));
    enter(connection, HttpPhase::kHead);
    ++service->metrics.accepted;
    if (!list(connection) || !describe_connection(connection)) return nullptr;
    // Others may have gone while TLS came to stand.
    if (connection->is_surplus && count_of(service) > service->most_connections) {
        refuse(connection, 503, "too many connections");
        send_and_settle(connection);
    }
    Py_RETURN_NONE;
}

PyObject* data_received(PyObject* self, PyObject* data) {
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return nullptr;
    bool done = as_http_connection(self)->link.on_bytes(
        {static_cast<const std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
    PyBuffer_Release(&view);
    return none_if(done);
}

PyObject* eof_received(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_http_connection(self)->link.on_eof());
}

PyObject* pause_writing(PyObject* self, PyObject*) {
    return none_if(as_http_connection(self)->link.on_pause_writing());
}

PyObject* resume_writing(PyObject* self, PyObject*) {
    return none_if(as_http_connection(self)->link.on_resume_writing());
}

PyObject* connection_lost(PyObject* self, PyObject* exception) {
    return none_if(as_http_connection(self)->link.on_lost(exception));
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    HttpConnection* connection = as_http_connection(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(connection->server));
    Py_VISIT(connection->transport);
    Py_VISIT(connection->client);
    Py_VISIT(connection->local);
    Py_VISIT(connection->tls);
    Py_VISIT(object(connection->exchange));
    return 0;
}

// The server stays until dealloc(): the parser's limits are its.
int clear(PyObject* self) {
    HttpConnection* connection = as_http_connection(self);
    unlist(connection);
    Py_CLEAR(connection->transport);
    Py_CLEAR(connection->client);
    Py_CLEAR(connection->local);
    Py_CLEAR(connection->tls);
    Py_CLEAR(connection->exchange);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    clear(self);
    HttpConnection* connection = as_http_connection(self);
    delete std::exchange(connection->output, nullptr);
    std::destroy_at(&connection->parser());
    Py_XDECREF(object(connection->server));
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {{"connection_made", connection_made, METH_O, nullptr},
                         {"_begin", connection_made, METH_O, nullptr},
                         {"data_received", data_received, METH_O, nullptr},
                         {"eof_received", eof_received, METH_NOARGS, nullptr},
                         {"pause_writing", pause_writing, METH_NOARGS, nullptr},
                         {"resume_writing", resume_writing, METH_NOARGS, nullptr},
                         {"connection_lost", connection_lost, METH_O, nullptr},
                         // By this name a TLS transport calls it.
                         {"_lost", connection_lost, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The protocol of one HTTP client.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.HttpConnection", sizeof(HttpConnection), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

// Raises ConnectionRefusedError where not even those are few that are told that they are too many.
HttpConnection* new_http_connection(HttpServer* server) noexcept {
    HttpService* service = server->service;
    std::size_t most = service->most_connections, count = count_of(service);
    bool is_surplus = most > 0 && count >= most;
    if (is_surplus && count - most >= service->most_surplus) {
        PyErr_SetString(PyExc_ConnectionRefusedError, "too many connections");
        return nullptr;
    }
    PyTypeObject* type = server->loop->state->http_connection;
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    HttpConnection* connection = as_http_connection(made);
    new (&connection->link) HttpLink();
    new (connection->parser_room) http1::RequestParser(server->service->limits);
    connection->server = as_http_server(Py_NewRef(object(server)));
    connection->place = kNowhere;
    connection->is_surplus = is_surplus;
    connection->is_unmade = true;
    ++service->unmade;
    return connection;
}

StreamProtocol* native_http_protocol(PyObject* connection) noexcept {
    return &as_http_connection(connection)->link;
}

bool add_http_connection_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->http_connection);
}

}  // namespace penstock::py
