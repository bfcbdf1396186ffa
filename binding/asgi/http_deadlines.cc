// What a connection may take, and what comes of it when it takes longer.
#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/websocket.h"
#include "py/types.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

// A number that changes whenever the client has taken something, 0 where nobody waits for it to;
// -1 with an exception set. The kernel reports room in large pieces, so who takes one byte now and
// then makes no progress here.
std::size_t write_state_of(const HttpConnection* connection) noexcept {
    PyObject* transport = connection->transport;
    if (Py_TYPE(transport) == connection->server->loop->state->transport) {
        const SocketTransport* native = as_transport(transport);
        if (native->endpoint == nullptr) return 0;
        // The queue is empty while the kernel sends a file.
        if (!native->is_sending_file) return stream_of(native).queued();
        bool waits = native->seldom != nullptr && native->seldom->drained != nullptr;
        return waits ? native->seldom->file_waits : 0;
    }
    Ref<> size = Ref<>::steal(PyObject_CallMethod(transport, "get_write_buffer_size", nullptr));
    return size ? PyLong_AsSize_t(size.get()) : static_cast<std::size_t>(-1);
}

// Whether the client has taken nothing since the last look; `since` is when it last did.
bool takes_nothing(HttpConnection* connection, TimePoint now) noexcept {
    if (!connection->is_write_paused && !connection->is_sending_file) return false;
    std::size_t state = write_state_of(connection);
    bool has_taken = state == 0 || state != std::exchange(connection->write_state, state);
    if (has_taken) connection->since = now;
    return !has_taken;
}

}  // namespace

void check_deadlines(HttpConnection* connection, TimePoint now) noexcept {
    const Deadlines& deadlines = connection->server->service->deadlines;
    auto is_over = [now](TimePoint since, Duration allowed) {
        return allowed > Duration::zero() && now - since > allowed;
    };
    // Of a server that ends, without a request under way.
    auto is_left_over = [&](TimePoint since) {
        return connection->server->service->is_draining && now - since >= deadlines.drain;
    };
    auto time_out = [connection](const char* reason) {
        refuse(connection, 408, reason);
        send_and_settle(connection);
    };
    bool is_stalled = takes_nothing(connection, now);
    if (PyErr_Occurred() != nullptr) PyErr_WriteUnraisable(object(connection));
    switch (connection->phase) {
        case HttpPhase::kHead:
            if (connection->parser().is_amid_request()) {
                if (is_over(connection->since, deadlines.head)) time_out("request head timed out");
                return;
            }
            if (is_over(connection->since, deadlines.head) || is_left_over(connection->since))
                close_connection(connection);
            return;
        case HttpPhase::kIdle:
            if (is_over(connection->since, deadlines.keep_alive) || is_left_over(connection->since))
                close_connection(connection);
            return;
        case HttpPhase::kLingering:
            if (is_over(connection->since, deadlines.linger)) abort_connection(connection);
            return;
        case HttpPhase::kBody: {
            if (connection->is_read_paused) break;  // it is we who do not read
            if (is_over(connection->since, deadlines.body))
                return time_out("request body timed out");
            Duration elapsed = now - connection->begun;
            double seconds = std::chrono::duration<double>(elapsed).count();
            bool is_slow = deadlines.body_rate > 0 && elapsed > deadlines.body_grace &&
                           static_cast<double>(connection->body_bytes) <
                               seconds * static_cast<double>(deadlines.body_rate);
            if (is_slow) return time_out("request body too slow");
            break;
        }
        case HttpPhase::kWebSocket:
            check_websocket(connection->exchange, now);
            if (is_stalled && is_over(connection->since, deadlines.write))
                abort_connection(connection);
            return;
        case HttpPhase::kAnswering: break;
    }
    if (is_stalled && is_over(connection->since, deadlines.write))
        return abort_connection(connection);
    if (connection->exchange == nullptr || !is_over(connection->begun, deadlines.request)) return;
    Ref<Exchange> exchange = Ref<Exchange>::borrow(connection->exchange);
    Ref<> task = Ref<>::borrow(exchange->task);
    exchange->keeps_alive = false;
    if (exchange->phase != ResponsePhase::kNone)
        abort_connection(connection);
    else if (answer(exchange.get(), 504, "request deadline"))
        send_and_settle(connection);
    if (!task) return;
    Ref<> cancelled = Ref<>::steal(
        PyObject_CallMethod(task.get(), "cancel", "s", "the server's request deadline"));
    if (!cancelled && !take_failure(connection->server->loop)) PyErr_WriteUnraisable(task.get());
}

}  // namespace penstock::py
