// What leaves for a client, and how its connection ends.
#include <new>

#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/text.h"
#include "py/types.h"
#include "reactor/reactor.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

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

}  // namespace

TimePoint turn_time(const HttpConnection* connection) noexcept {
    Reactor* reactor = connection->server->loop->reactor;
    return reactor != nullptr ? reactor->turn_time() : now();
}

void enter(HttpConnection* connection, HttpPhase phase) noexcept {
    connection->phase = phase;
    connection->since = turn_time(connection);
}

bool is_closing(const HttpConnection* connection) noexcept {
    return connection->transport == nullptr || connection->phase == HttpPhase::kLingering;
}

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
    std::size_t size = (output != nullptr ? output->size() : 0) +
                       (body != nullptr ? view_of_bytes(body).size() : 0);
    sent += size;
    connection->given += size;
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

}  // namespace penstock::py
