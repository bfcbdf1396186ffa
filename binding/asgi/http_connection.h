// _core.HttpConnection: the protocol of one client's connection. It lets the parser read, makes
// exchanges out of requests, one at a time, and sends what they answer.
//
// Who holds whom: the transport holds its protocol, which is this; this holds the transport until
// that is lost, the server, and the exchange under way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "asgi/http_server.h"
#include "asgi/uptake.h"
#include "base/clock.h"
#include "http1/request_parser.h"
#include "transport/stream_protocol.h"

namespace penstock::py {

class HttpLink final : public StreamProtocol {
public:
    bool on_bytes(std::span<const std::byte> bytes) noexcept override;
    int on_eof() noexcept override;
    bool on_pause_writing() noexcept override;
    bool on_resume_writing() noexcept override;
    bool on_lost(PyObject* exception) noexcept override;

private:
    HttpConnection* connection() noexcept;
};

// What a connection does now: which deadline holds.
enum class HttpPhase : std::uint8_t {
    kHead,       // the first bytes of a request, or of the connection, have come or are due
    kBody,       // of a request
    kAnswering,  // the request is there, the response is not
    kIdle,       // between requests
    kWebSocket,  // it is one
    kLingering,  // it has been refused: what still comes is thrown away
};

struct HttpConnection {
    PyObject_HEAD HttpLink link;
    HttpServer* server;   // strong
    PyObject* transport;  // strong; nullptr before and after
    PyObject* client;     // what a scope tells of the two ends, once it has been asked for
    PyObject* local;
    PyObject* tls;        // the extension's dict, of a connection over TLS; else nullptr
    Exchange* exchange;   // strong: the one under way, until its response is complete
    std::size_t place;    // in the server's list, while there is a transport
    std::string* output;  // from the server's pool: what is to be sent; nullptr: nothing
    TimePoint since;      // the phase began, or its last progress
    TimePoint begun;      // the request under way
    TimePoint measured;   // since then the client is to blame for what does not come of a body,
    std::uint64_t body_bytes;  // of which so much has come
    std::uint64_t given;       // bytes that the transport, or a file's sender, has got to send
    Uptake uptake;
    HttpPhase phase;
    bool is_tls;
    bool is_unmade;   // no transport has it yet: see HttpService
    bool is_surplus;  // there were as many as there may be when it came
    bool is_write_paused, is_read_paused;
    bool is_half_closed;  // the client sends no more
    bool is_ending;       // it will have, behind what we do not read now
    bool is_pumping;      // bytes are being looked at, further down the stack
    bool is_departing;    // among the server's departures
    bool closes;          // after the response
    alignas(http1::RequestParser) std::byte parser_room[sizeof(http1::RequestParser)];

    http1::RequestParser& parser() noexcept {
        return *std::launder(reinterpret_cast<http1::RequestParser*>(parser_room));
    }
};

// Once what has come has been looked at.
inline bool sends_no_more(const HttpConnection* connection) noexcept {
    return connection->is_half_closed || connection->is_ending;
}

inline HttpConnection* as_http_connection(PyObject* object) noexcept {
    return reinterpret_cast<HttpConnection*>(object);
}

HttpConnection* new_http_connection(HttpServer* server) noexcept;
StreamProtocol* native_http_protocol(PyObject* connection) noexcept;

// Fills in client, local and is_tls. False with an exception set.
bool describe_connection(HttpConnection* connection) noexcept;

// Where the next bytes of a response go: nullptr with MemoryError set.
std::string* output_of(HttpConnection* connection) noexcept;
// There is output, which has to leave when the step that runs now is over.
void depart_soon(HttpConnection* connection) noexcept;
// It leaves now, with `body`, a bytes object, behind it where that is not nullptr. False with an
// exception set.
bool send_output(HttpConnection* connection, PyObject* body) noexcept;
// The same for departures, which goes on with the next request too.
void depart(HttpConnection* connection) noexcept;

// What has been written leaves; and where the response was the last, so does the connection.
void send_and_settle(HttpConnection* connection) noexcept;
// The client sends no more, and what it has sent has been looked at.
bool has_all_requests(HttpConnection* connection) noexcept;
// The client is at fault, and is told so where nothing has been answered yet.
void refuse(HttpConnection* connection, int status, const char* reason) noexcept;
// The response of the exchange under way is complete.
void response_done(HttpConnection* connection) noexcept;
// Nothing that makes sense can follow on this connection: what was written leaves, and it closes.
void close_connection(HttpConnection* connection) noexcept;
void abort_connection(HttpConnection* connection) noexcept;
// The request was answered by a 101: what follows is its websocket's.
void become_websocket(HttpConnection* connection) noexcept;
// False with an exception told.
bool pause_reading(HttpConnection* connection) noexcept;
bool resume_reading(HttpConnection* connection) noexcept;
// The client may send more of its body.
bool resume_body(HttpConnection* connection) noexcept;
// From now on a body that does not come is the client's fault.
void expect_body(HttpConnection* connection) noexcept;

// No request is read any more.
bool is_closing(const HttpConnection* connection) noexcept;
TimePoint turn_time(const HttpConnection* connection) noexcept;
void enter(HttpConnection* connection, HttpPhase phase) noexcept;

// ---- http_requests.cc ------------------------------------------------------------------------

// Lets the parser read what there is, and the application answer. An application starts when all of
// its request that has come already has been looked at: it gets it in one piece.
void pump(HttpConnection* connection) noexcept;
// Whether the parser has to wait: for the response to the request before, or for the application,
// which does not read its body.
bool must_wait(const HttpConnection* connection) noexcept;
// What is fed and cannot be looked at yet: whole requests, unless they are looked at as they come.
// Throws std::bad_alloc.
void hold_back(HttpConnection* connection, bool waits);

// http_deadlines.cc. Whether so much of a body, or of a message, is less than has to come
// meanwhile.
bool is_below_rate(const Deadlines& deadlines, std::uint64_t bytes, Duration elapsed) noexcept;
// Looks at them; `now` is the turn's time.
void check_deadlines(HttpConnection* connection, TimePoint now) noexcept;

}  // namespace penstock::py
