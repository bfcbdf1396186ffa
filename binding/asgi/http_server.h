// _core.HttpServer(loop, app, …): what the connections of one server have in common. It is the
// protocol factory that create_server() gets: each call makes an HttpConnection.
//
// All of it belongs to the loop's thread. Connections hold their server; it knows them, without
// holding them, for as long as they have a transport.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "asgi/field_cache.h"
#include "asgi/http_metrics.h"
#include "asgi/names.h"
#include "asgi/websocket_settings.h"
#include "base/clock.h"
#include "http1/limits.h"
#include "http1/response.h"
#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

struct Exchange;
struct HttpConnection;
struct HttpServer;

// How long a connection may take, in nanoseconds; zero: for ever.
struct Deadlines {
    Duration head;            // from its first byte, or the connection's, to its end: 408
    Duration body;            // without a byte of it: 408
    Duration keep_alive;      // between requests: closed
    Duration request;         // from the head to the response's end: 504, or closed
    Duration write;           // that it does not take what is sent: aborted
    Duration linger;          // for the rest of what a refused client sends
    Duration drain;           // between requests, once the server ends: closed
    std::uint64_t body_rate;  // bytes a second, on the average, that a body has to come in: 408
    Duration body_grace;      // from when on that is asked for
};

// The connections that have something to send once the step that runs now is over.
class Departures final : public Completion {
public:
    explicit Departures(HttpServer* server) noexcept : server_(server) {}
    // Takes over a reference. Where memory is out it is sent at once.
    void add(HttpConnection* connection) noexcept;
    void complete(Loop* loop) noexcept override;
    void drop() noexcept override;

private:
    void send_all() noexcept;

    HttpServer* server_;
    std::vector<HttpConnection*> waiting_;
    bool is_scheduled_ = false;  // and then there is a reference to the server
};

// Memory that responses are built in; what is idle serves the next.
class OutputPool {
public:
    std::unique_ptr<std::string> take();  // empty; throws std::bad_alloc
    void give_back(std::unique_ptr<std::string> output) noexcept;

private:
    static constexpr std::size_t kLargestKept = std::size_t{128} * 1024;
    static constexpr std::size_t kMostKept = 16;
    std::array<std::unique_ptr<std::string>, kMostKept> idle_;
    std::size_t count_ = 0;
};

// The C++ half of a server.
struct HttpService {
    explicit HttpService(HttpServer* server) noexcept : departures(server) {}

    AsgiNames names;
    FieldCache fields;
    OutputPool outputs;
    Departures departures;
    http1::DateLine date;
    http1::Limits limits;
    Deadlines deadlines{};
    WebSocketSettings websockets;
    HttpMetrics metrics;
    std::string server_line;                   // "server: …\r\n", or nothing
    std::string head_lines;                    // what else the operator wants in each response
    std::size_t most_connections = 0;          // 0: no bound; above: 503
    std::size_t most_surplus = 0;              // so many get that; who comes then is not let in
    std::size_t unmade = 0;                    // accepted, and without a transport until TLS stands
    std::size_t most_pipelined = 0;            // bytes that wait for the response before them
    std::uint64_t requests = 0;                // since the start
    std::vector<HttpConnection*> connections;  // those that have a transport, in no order
    PyObject* running = nullptr;               // a set of the tasks of applications
    bool has_date = true;
    bool is_date_given = false;  // by the operator, in head_lines
    bool is_server_given = false;
    bool logs_headers = false;  // log_access gets those of the response too
    bool is_draining = false;   // connections close once they are idle
    std::uint16_t leaving = 0;  // and websockets with this code
};

struct HttpServer {
    PyObject_HEAD vectorcallfunc vectorcall;
    Loop* loop;
    HttpService* service;
    PyObject* app;
    PyObject* root_path;       // str
    PyObject* state;           // the lifespan's dict, or None
    PyObject* scope_template;  // dict
    PyObject* asgi;            // dict, copied into each scope, as the next
    PyObject* extensions;
    PyObject* log_access;    // callable or None: (scope, status, bytes, seconds[, headers])
    PyObject* forwarded;     // callable or None: (scope), of a request that a proxy tells more of
    PyObject* open_file;     // callable: (message) -> (file, offset, count)
    PyObject* describe_tls;  // callable: (transport) -> the dict of the extension "tls"
    PyObject* log_error;     // callable: (message, exception or None, task or None, scope or None)
};

inline HttpServer* as_http_server(PyObject* object) noexcept {
    return reinterpret_cast<HttpServer*>(object);
}

// Tells the operator. Takes over `exception`, which may be nullptr as the others.
void log_http_error(HttpServer* server, const char* message, PyObject* exception, PyObject* task,
                    PyObject* scope) noexcept;

bool add_asgi_types(PyObject* module, State* state);

}  // namespace penstock::py
