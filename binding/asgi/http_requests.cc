// What a client has sent: its requests, one after the other, for the application to answer.
#include <new>

#include "asgi/exchange.h"
#include "asgi/http_connection.h"
#include "asgi/websocket.h"

namespace penstock::py {
namespace {

constexpr std::size_t kMostRequestsATurn = 16;
constexpr std::size_t kMostBodyWaiting = std::size_t{64} * 1024;
constexpr std::uint64_t kMostDiscarded = std::uint64_t{256} * 1024;

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

}  // namespace

bool must_wait(const HttpConnection* connection) noexcept {
    const Exchange* exchange = connection->exchange;
    return exchange != nullptr &&
           (exchange->is_body_complete || waiting_body(exchange) >= kMostBodyWaiting);
}

void hold_back(HttpConnection* connection, bool waits) {
    http1::RequestParser& parser = connection->parser();
    parser.hold();
    bool is_full = waits && parser.unused().size() > connection->server->service->most_pipelined;
    bool is_slow =
        connection->exchange != nullptr && waiting_body(connection->exchange) >= kMostBodyWaiting;
    if (is_full || is_slow) pause_reading(connection);
}

namespace {

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

}  // namespace

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

}  // namespace penstock::py
