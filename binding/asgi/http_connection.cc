#include "asgi/http_connection.h"

#include <new>

#include "asgi/exchange.h"
#include "asgi/websocket.h"
#include "py/types.h"
#include "transport/socket_transport.h"

namespace penstock::py {
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
    if (is_closing(self)) return 0;
    if (Exchange* exchange = self->exchange; exchange != nullptr) {
        // It may have shut down one direction only, and wait for the response; or it is gone. What
        // it has sent may still have to be looked at, and pump() then tells whether a body lacks
        // its end. TLS ends here in both directions.
        bool can_answer = (must_wait(self) || self->is_departing) &&
                          exchange->websocket == nullptr && !self->is_tls;
        if (!can_answer) lose_client(exchange);
        wake_waiting(exchange);
        return can_answer ? 1 : 0;
    }
    return self->is_departing && !self->is_tls ? 1 : 0;  // the rest of a pipeline is due
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
