// What a connection may take, and what comes of it when it takes longer.
#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/websocket.h"
#include "py/ref.h"

namespace penstock::py {

bool is_below_rate(const Deadlines& deadlines, std::uint64_t bytes, Duration elapsed) noexcept {
    double seconds = std::chrono::duration<double>(elapsed).count();
    return deadlines.body_rate > 0 && elapsed > deadlines.body_grace &&
           static_cast<double>(bytes) < seconds * static_cast<double>(deadlines.body_rate);
}

namespace {

// Of a client whose pipeline is full nothing is read, so nothing tells that it leaves: neither does
// epoll, which does not watch it. Whoever waits for that in receive() hears of it here, once there
// is room in the kernel for all that stands before the end.
void note_end(HttpConnection* connection) noexcept {
    bool waits = connection->is_read_paused && connection->phase == HttpPhase::kAnswering;
    if (!waits || sends_no_more(connection) || !has_ended(connection)) return;
    connection->is_ending = true;
    wake_waiting(connection->exchange);
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
    // Where the loop was held up, what came in time may still wait to be read.
    auto time_out = [connection](const char* reason) {
        if (has_unread(connection)) return;
        refuse(connection, 408, reason);
        send_and_settle(connection);
    };
    auto let_go = [connection] {
        if (!has_unread(connection)) close_connection(connection);
    };
    if (!connection->uptake.check(connection, now)) return abort_connection(connection);
    note_end(connection);
    switch (connection->phase) {
        case HttpPhase::kHead:
            if (connection->parser().is_amid_request()) {
                if (is_over(connection->since, deadlines.head)) time_out("request head timed out");
                return;
            }
            if (is_over(connection->since, deadlines.head) || is_left_over(connection->since))
                let_go();
            return;
        case HttpPhase::kIdle:
            // A response that is not there yet is not to be followed by a request either.
            if (has_unsent(connection) && !connection->closes) connection->since = now;
            if (is_over(connection->since, deadlines.keep_alive) || is_left_over(connection->since))
                let_go();
            return;
        case HttpPhase::kLingering:
            if (has_unsent(connection)) connection->since = now;
            if (is_over(connection->since, deadlines.linger)) abort_connection(connection);
            return;
        case HttpPhase::kBody: {
            if (connection->is_read_paused) break;  // it is we who do not read
            // Or who have not said that it may send.
            if (connection->exchange != nullptr && connection->exchange->expects_continue &&
                connection->body_bytes == 0)
                break;
            if (is_over(connection->since, deadlines.body))
                return time_out("request body timed out");
            if (is_below_rate(deadlines, connection->body_bytes, now - connection->measured))
                return time_out("request body too slow");
            break;
        }
        case HttpPhase::kWebSocket: return check_websocket(connection->exchange, now);
        case HttpPhase::kAnswering: break;
    }
    if (connection->exchange == nullptr || !is_over(connection->begun, deadlines.request)) return;
    Ref<Exchange> exchange = Ref<Exchange>::borrow(connection->exchange);
    Ref<> task = Ref<>::borrow(exchange->task);
    exchange->keeps_alive = false;
    take_back_head(exchange.get());
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
