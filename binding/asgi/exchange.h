// _core.Exchange: one request and its response, and the `send` that the application gets. `receive`
// is a Receiver, which knows its exchange.
//
// Who holds whom: the connection holds the exchange until the response is complete, the exchange
// its connection until then or until that is lost; the task of the application is held while it
// runs. What waits in receive() or send() is in `waiting`, and looks again whenever something has
// happened.
#pragma once

#include <cstdint>
#include <string>

#include "asgi/http_connection.h"
#include "futures/layout.h"
#include "py/python.h"
#include "py/ref.h"
#include "sync/coroutine.h"

namespace penstock::py {

struct WebSocket;

enum class ResponsePhase : std::uint8_t {
    kNone,
    kStarted,   // the head stands in the output, without its end
    kBody,      // the head is complete
    kTrailers,  // the body is over, trailers are to come
    kUpgraded,  // it was a 101: a websocket's messages follow
    kDone,
};

enum class ResponseFraming : std::uint8_t { kUnknown, kLength, kChunked, kUntilClose, kNoBody };

struct Exchange {
    PyObject_HEAD vectorcallfunc vectorcall;  // send(message)
    HttpServer* server;                       // strong
    HttpConnection* connection;               // strong; nullptr once there is nothing to send to
    PyObject* scope;                          // for logs; or nullptr
    PyObject* headers;       // of the response, where the log wants them; or nullptr
    PyObject* task;          // the application's, while it runs
    PyObject* body;          // bytes that have come and are not received yet, or nullptr
    std::string* more_body;  // what has come behind that; or nullptr
    WebSocket* websocket;    // that the request asked for, or nullptr
    PyObject* waiting;       // a list of parked coroutines and of futures, or nullptr
    std::size_t head_begin;  // where in the output the head stands that is not complete yet
    std::uint64_t promised;  // the response's Content-Length
    std::uint64_t sent;      // bytes of its body
    std::uint16_t status;
    ResponsePhase phase;
    ResponseFraming framing;
    bool is_head;  // the method: no body is sent
    bool is_1_0;
    bool keeps_alive;  // both sides want to
    bool has_trailers, has_date, has_server;
    bool expects_continue;  // and has not got it yet
    bool is_body_complete;  // all of the request has come
    bool is_body_given;     // and receive() has told so
    bool is_gone;           // the client is
    bool is_acting;         // a message is looked at, which may run anything
    bool is_sending_file;
};

inline Exchange* as_exchange(PyObject* object) noexcept {
    return reinterpret_cast<Exchange*>(object);
}

Exchange* new_exchange(HttpConnection* connection, const http1::Request& request) noexcept;
// Calls the application. What fails has been seen to.
void start_application(Exchange* exchange) noexcept;

// A piece of the request's body has come. False with MemoryError set.
bool add_body(Exchange* exchange, std::string_view piece) noexcept;
std::size_t waiting_body(const Exchange* exchange) noexcept;

// Something has happened: whoever waits looks again.
void wake_waiting(Exchange* exchange) noexcept;
// A head that waits for the body, of which nothing has left, is none any more: another can be sent.
void take_back_head(Exchange* exchange) noexcept;
// The client has gone.
void lose_client(Exchange* exchange) noexcept;
// Parks `self` until then, or lets it wait in another way.
PySendResult wait_in(Exchange* exchange, Coroutine* self, PyObject** result) noexcept;
// Whether the turn has taken long. An application whose calls never have to wait would keep the
// loop to itself: others would starve, and it would never hear that its client has gone.
bool has_run_long(const Exchange* exchange) noexcept;

// receive.cc
PyObject* new_receiver(Exchange* exchange) noexcept;
// send.cc: the vectorcall of an exchange.
PyObject* call_send(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names);

// response.cc: acts on a message; false with an exception set.
bool act_on_message(Exchange* exchange, PyObject* message) noexcept;
// The part of a response's body that is a file of `size` bytes: what stands before it leaves, and
// then what stands behind it. False with an exception set; `is_sent` says whether the file is to be
// sent at all.
bool begin_file(Exchange* exchange, std::uint64_t size, bool is_last, bool& is_sent) noexcept;
bool end_file(Exchange* exchange, bool is_sent, bool is_last) noexcept;
// Whether `type` is that of a message with a file, in a response that has begun.
bool has_file(Exchange* exchange, PyObject* message) noexcept;
// The same for a message of that type, whatever its own is. May throw std::bad_alloc.
bool act_on(Exchange* exchange, PyObject* message, PyObject* type);
// A response of our own, where none was started: text/plain.
bool answer(Exchange* exchange, int status, const char* text) noexcept;
// The same without an exchange.
void append_refusal(std::string& output, HttpServer* server, int status, const char* text);
// Whether a header of the application's is sent. Its Date and its Server are instead of ours, which
// is noted; but the operator's are for each response.
bool takes_own_line(Exchange* exchange, std::string_view name) noexcept;
// "server:" and what the operator adds, and the date. Throws std::bad_alloc.
void append_own_lines(HttpServer* server, std::string& output, bool has_date, bool has_server);
// A (name, value), checked; what it returns keeps both. Empty with an exception set.
Ref<> read_field(PyObject* pair, std::string_view& name, std::string_view& value) noexcept;
void log_access(Exchange* exchange) noexcept;

bool add_exchange_types(PyObject* module, State* state);

}  // namespace penstock::py
