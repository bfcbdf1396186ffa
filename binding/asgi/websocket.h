// The WebSocket that a request has asked for: what its exchange has besides. Until it is accepted
// the exchange is one like any other, whose response may be a denial; then the connection's bytes
// are its, frames out and in.
//
// It belongs to its exchange, which belongs to the connection until that is lost, whoever closes;
// the application's task may keep the exchange for longer, and receive what has come before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "asgi/websocket_settings.h"
#include "base/clock.h"
#include "http1/request.h"
#include "py/python.h"
#include "websocket/close_code.h"
#include "websocket/handshake.h"
#include "websocket/message_reader.h"

namespace penstock::py {

struct Coroutine;
struct Exchange;
struct HttpConnection;

// Messages that have come and are not received yet: str and bytes objects.
class MessageQueue {
public:
    MessageQueue() = default;
    MessageQueue(const MessageQueue&) = delete;
    MessageQueue& operator=(const MessageQueue&) = delete;
    ~MessageQueue();

    // Takes the message over. False with MemoryError set.
    bool add(PyObject* message, std::size_t bytes) noexcept;
    PyObject* take() noexcept;  // a new reference; not where it is empty
    bool empty() const noexcept { return first_ == all_.size(); }
    std::size_t size() const noexcept { return all_.size() - first_; }
    std::size_t bytes() const noexcept { return bytes_; }

private:
    struct Entry {
        PyObject* message;
        std::size_t bytes;
    };
    std::vector<Entry> all_;
    std::size_t first_ = 0;
    std::size_t bytes_ = 0;
};

enum class WebSocketPhase : std::uint8_t {
    kConnecting,  // neither accepted nor denied
    kDenied,
    kOpen,
    kClosing,  // a close frame has been sent, the client's is to come
    kOver,     // nothing more is read or sent
};

struct WebSocket {
    std::string accept;  // the answer to its key, while it is connecting
    std::optional<websocket::DeflateTerms> deflate;
    std::optional<websocket::MessageReader> reader;  // from when it is accepted on
    MessageQueue queue;
    std::optional<std::string> owed_pong;  // while the client does not take what is sent
    TimePoint since;             // it was accepted, or has sent its last ping; or began to close
    TimePoint received;          // bytes of the client
    TimePoint message_since{};   // one has begun, and we read it; not set where none has
    PyObject* reason = nullptr;  // why it was closed, a str; nullptr: ""
    std::uint16_t code = websocket::kAbnormalClosure;
    WebSocketPhase phase = WebSocketPhase::kConnecting;
    bool is_connect_told = false;
    bool is_pinged = false;  // a ping has been sent, and no byte has come since

    WebSocket() = default;
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;
    ~WebSocket() { Py_CLEAR(reason); }
};

// RFC 6455, 4.2.1, but for the fields that the handshake is judged by.
inline bool asks_for_websocket(const http1::Request& request) noexcept;
bool names_websocket(const http1::Request& request) noexcept;
// Throws std::bad_alloc.
websocket::Handshake handshake_of(const http1::Request& request);
// An exchange with a websocket; nullptr with an exception set.
Exchange* new_websocket_exchange(HttpConnection* connection, const http1::Request& request,
                                 const websocket::Handshake& handshake) noexcept;

// websocket_messages.cc: what the application sends. False with an exception set; may throw
// std::bad_alloc.
bool act_on_websocket_message(Exchange* exchange, PyObject* message, PyObject* type);
// websocket_receive.cc: what it receives.
PySendResult receive_from_websocket(Exchange* exchange, Coroutine* self,
                                    PyObject** result) noexcept;

// websocket_session.cc. It has been accepted: what follows on the connection is its.
void open_websocket(Exchange* exchange) noexcept;
// Bytes of the client; false with MemoryError set.
bool feed_websocket(Exchange* exchange, std::span<const std::byte> bytes) noexcept;
// Looks at what has come and was left, for there was no room in the queue.
void read_on(Exchange* exchange) noexcept;
void websocket_writable(Exchange* exchange) noexcept;
// Sends a close frame, and waits for the client's.
void close_websocket(Exchange* exchange, std::uint16_t code, std::string_view reason) noexcept;
// The same for the server, which stops: the application is told that the client is gone.
void leave_websocket(Exchange* exchange, std::uint16_t code) noexcept;
void check_websocket(Exchange* exchange, TimePoint now) noexcept;

inline bool asks_for_websocket(const http1::Request& request) noexcept {
    return !request.upgrade.empty() && names_websocket(request);
}

}  // namespace penstock::py
