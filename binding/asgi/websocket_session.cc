// A websocket's life on its connection: frames in, pings, and the ways to its end.
#include <algorithm>
#include <new>

#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "py/ref.h"
#include "py/types.h"
#include "websocket/field_list.h"
#include "websocket/frame.h"

namespace penstock::py {
namespace {

// Bytes that wait for the application, beyond which no further message is read.
constexpr std::size_t kMostQueuedBytes = std::size_t{1} << 20U;

const WebSocketSettings& settings_of(const Exchange* exchange) noexcept {
    return exchange->server->service->websockets;
}

bool is_full(const Exchange* exchange) noexcept {
    const WebSocket& websocket = *exchange->websocket;
    if (websocket.phase != WebSocketPhase::kOpen || websocket.queue.empty()) return false;
    return websocket.queue.size() >= settings_of(exchange).most_queued ||
           websocket.queue.bytes() >= kMostQueuedBytes;
}

void fail_for_memory(Exchange* exchange) noexcept {
    PyErr_WriteUnraisable(object(exchange));
    exchange->websocket->phase = WebSocketPhase::kOver;
    if (exchange->connection != nullptr) abort_connection(exchange->connection);
}

// A control frame into the output, which leaves when the turn is over.
template <class Append>
void send_frame(Exchange* exchange, Append append) noexcept {
    if (exchange->connection == nullptr) return;
    std::string* output = output_of(exchange->connection);
    if (output == nullptr) return fail_for_memory(exchange);
    try {
        append(*output);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return fail_for_memory(exchange);
    }
    depart_soon(exchange->connection);
}

void send_close(Exchange* exchange, std::uint16_t code, std::string_view reason) noexcept {
    send_frame(exchange, [=](std::string& out) { websocket::append_close(out, code, reason); });
}

// The connection ends, behind what is to be sent yet.
void end(Exchange* exchange) noexcept {
    exchange->websocket->phase = WebSocketPhase::kOver;
    exchange->is_gone = true;
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(exchange->connection);
    if (connection) {
        if (!send_output(connection.get(), nullptr)) PyErr_WriteUnraisable(object(exchange));
        close_connection(connection.get());
    }
    wake_waiting(exchange);
}

void set_end(WebSocket& websocket, std::uint16_t code, std::string_view reason) noexcept {
    websocket.code = code;
    Py_XSETREF(websocket.reason,
               reason.empty()
                   ? nullptr
                   : PyUnicode_DecodeUTF8(reason.data(), static_cast<Py_ssize_t>(reason.size()),
                                          "replace"));
    if (PyErr_Occurred() != nullptr) PyErr_Clear();  // no memory for the reason: there is the code
}

// RFC 6455, 7.1.7.
void fail_connection(Exchange* exchange, std::uint16_t code, const char* reason) noexcept {
    WebSocket& websocket = *exchange->websocket;
    if (websocket.phase == WebSocketPhase::kOpen) {
        set_end(websocket, code, reason);
        send_close(exchange, code, reason);
    }
    end(exchange);
}

void on_close(Exchange* exchange) noexcept {
    WebSocket& websocket = *exchange->websocket;
    std::uint16_t code = websocket.reader->code();
    if (websocket.phase == WebSocketPhase::kOpen) {
        set_end(websocket, code, websocket.reader->message());
        send_close(exchange, code, {});
    }
    end(exchange);
}

bool enqueue(Exchange* exchange, std::string_view payload, bool is_text) noexcept {
    PyObject* message =
        is_text
            ? PyUnicode_DecodeUTF8(payload.data(), static_cast<Py_ssize_t>(payload.size()), nullptr)
            : bytes_of(payload);
    if (message == nullptr || !exchange->websocket->queue.add(message, payload.size()))
        return false;
    ++exchange->server->service->metrics.messages_received;
    wake_waiting(exchange);
    return true;
}

void on_ping(Exchange* exchange, std::string_view payload) {
    WebSocket& websocket = *exchange->websocket;
    HttpConnection* connection = exchange->connection;
    if (websocket.phase != WebSocketPhase::kOpen || connection == nullptr) return;
    // RFC 6455, 5.5.3: only the last one has to be answered. Who sends pings and takes no answer
    // fills no memory.
    if (connection->is_write_paused) {
        websocket.owed_pong = payload;
        return;
    }
    send_frame(exchange, [=](std::string& out) {
        websocket::append_control(out, websocket::Opcode::kPong, payload);
    });
}

// One event of the reader. False where nothing more can be had now.
bool step(Exchange* exchange) {
    WebSocket& websocket = *exchange->websocket;
    websocket::MessageReader& reader = *websocket.reader;
    websocket::Event event = reader.next();
    switch (event) {
        case websocket::Event::kNeedMore: return false;
        case websocket::Event::kText:
        case websocket::Event::kBinary:
            websocket.message_since = TimePoint{};
            if (websocket.phase != WebSocketPhase::kOpen) return true;
            if (enqueue(exchange, reader.message(), event == websocket::Event::kText)) return true;
            return fail_for_memory(exchange), false;
        case websocket::Event::kPing: on_ping(exchange, reader.message()); return true;
        case websocket::Event::kPong: return true;  // that it has come says all
        case websocket::Event::kClose: on_close(exchange); return false;
        case websocket::Event::kFailed:
            fail_connection(exchange, reader.code(), reader.reason());
            return false;
    }
    return false;
}

}  // namespace

bool names_websocket(const http1::Request& request) noexcept {
    return request.method == "GET" && request.framing == http1::Framing::kNone &&
           equals_ignoring_case(request.upgrade, "websocket");
}

websocket::Handshake handshake_of(const http1::Request& request) {
    websocket::Handshake handshake;
    for (const http1::Field& field : request.fields) handshake.take(field.name, field.value);
    return handshake;
}

void open_websocket(Exchange* exchange) noexcept {
    WebSocket& websocket = *exchange->websocket;
    WebSocketSettings& settings = exchange->server->service->websockets;
    HttpConnection* connection = exchange->connection;
    websocket.phase = WebSocketPhase::kOpen;
    websocket.accept = std::string();
    websocket.reader.emplace(settings.limits, settings.pool, websocket.deflate.has_value());
    exchange->phase = ResponsePhase::kUpgraded;
    try {
        std::string_view behind = connection->parser().unused();
        websocket.reader->feed(std::as_bytes(std::span(behind.data(), behind.size())));
        websocket.reader->hold();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return fail_for_memory(exchange);
    }
    become_websocket(connection);
    websocket.since = websocket.received = connection->since;
    read_on(exchange);
    const HttpService* service = exchange->server->service;
    if (service->is_draining) leave_websocket(exchange, service->leaving);
}

bool feed_websocket(Exchange* exchange, std::span<const std::byte> bytes) noexcept {
    WebSocket& websocket = *exchange->websocket;
    if (websocket.phase == WebSocketPhase::kOver) return true;
    websocket.received = exchange->server->loop->reactor->turn_time();
    websocket.is_pinged = false;
    try {
        websocket.reader->feed(bytes);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    read_on(exchange);
    return true;
}

void read_on(Exchange* exchange) noexcept {
    Ref<Exchange> held = Ref<Exchange>::borrow(exchange);
    WebSocket& websocket = *exchange->websocket;
    if (websocket.phase == WebSocketPhase::kOver) return;
    try {
        while (!is_full(exchange) && step(exchange)) {
        }
        websocket.reader->hold();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return fail_for_memory(exchange);
    }
    HttpConnection* connection = exchange->connection;
    if (connection == nullptr || websocket.phase == WebSocketPhase::kOver) return;
    if (websocket.reader->has_unused()) {
        websocket.message_since = TimePoint{};
        pause_reading(connection);
        return;
    }
    if (websocket.reader->is_amid_message() && websocket.message_since == TimePoint{})
        websocket.message_since = turn_time(connection);
    resume_reading(connection);
}

void websocket_writable(Exchange* exchange) noexcept {
    std::optional<std::string> pong = std::exchange(exchange->websocket->owed_pong, {});
    if (!pong || exchange->websocket->phase != WebSocketPhase::kOpen) return;
    send_frame(exchange, [&](std::string& out) {
        websocket::append_control(out, websocket::Opcode::kPong, *pong);
    });
}

void close_websocket(Exchange* exchange, std::uint16_t code, std::string_view reason) noexcept {
    WebSocket& websocket = *exchange->websocket;
    if (websocket.phase != WebSocketPhase::kOpen || exchange->connection == nullptr) return;
    set_end(websocket, code, reason);
    send_close(exchange, code, reason);
    if (websocket.phase != WebSocketPhase::kOpen) return;
    websocket.phase = WebSocketPhase::kClosing;
    Reactor* reactor = exchange->server->loop->reactor;
    websocket.since = reactor != nullptr ? reactor->turn_time() : now();
    // The client's close frame stands behind what the application has not received.
    read_on(exchange);
    wake_waiting(exchange);
}

void leave_websocket(Exchange* exchange, std::uint16_t code) noexcept {
    if (exchange->websocket->phase != WebSocketPhase::kOpen) return;
    exchange->is_gone = true;
    close_websocket(exchange, code, {});
}

namespace {

// A message comes that does so slowly, as a body would. Pings tell nothing of that: it is bytes.
bool is_late(const WebSocket& websocket, const Deadlines& deadlines, TimePoint now) noexcept {
    if (websocket.message_since == TimePoint{}) return false;
    TimePoint last = std::max(websocket.message_since, websocket.received);
    if (deadlines.body > Duration::zero() && now - last > deadlines.body) return true;
    Duration elapsed = now - websocket.message_since;
    return is_below_rate(deadlines, websocket.reader->bytes_of_message(), elapsed);
}

}  // namespace

void check_websocket(Exchange* exchange, TimePoint now) noexcept {
    WebSocket& websocket = *exchange->websocket;
    const WebSocketSettings& settings = settings_of(exchange);
    auto is_over = [now](TimePoint since, Duration allowed) {
        return allowed > Duration::zero() && now - since > allowed;
    };
    HttpConnection* connection = exchange->connection;
    if (connection == nullptr) return;
    if (websocket.phase == WebSocketPhase::kClosing) {
        if (is_over(websocket.since, settings.close_timeout)) end(exchange);
        return;
    }
    if (websocket.phase != WebSocketPhase::kOpen) return;
    // An answer may wait where we do not read: then it is not the client that is late.
    if (connection->is_read_paused) {
        websocket.since = now;
        return;
    }
    if (is_late(websocket, exchange->server->service->deadlines, now) && !has_unread(connection))
        return fail_connection(exchange, websocket::kPolicyViolation, "message too slow");
    if (websocket.is_pinged && is_over(websocket.since, settings.ping_timeout))
        return fail_connection(exchange, websocket::kInternalError, "keepalive ping timeout");
    if (websocket.is_pinged || connection->is_write_paused) return;
    if (!is_over(websocket.since, settings.ping_interval)) return;
    websocket.is_pinged = true;
    websocket.since = now;
    send_frame(exchange, [](std::string& out) {
        websocket::append_control(out, websocket::Opcode::kPing, {});
    });
}

}  // namespace penstock::py
