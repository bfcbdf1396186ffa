// The application's messages as the bytes of a response, in the connection's output.
//
// The head stays open until the first of the body: only then it is known whether its length can be
// told, and an application that fails before that still gets a 500 out.
#include <charconv>
#include <ctime>
#include <new>

#include "asgi/exchange.h"
#include "asgi/message.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "http1/response.h"
#include "http1/trailers.h"
#include "py/ref.h"
#include "py/types.h"

namespace penstock::py {
namespace {

PyObject* item(PyObject* message, PyObject* key) noexcept {  // borrowed
    return PyDict_GetItemWithError(message, key);
}

int flag(PyObject* message, PyObject* key) noexcept {  // -1 with an exception set
    PyObject* value = item(message, key);
    if (value == nullptr) return PyErr_Occurred() != nullptr ? -1 : 0;
    return PyObject_IsTrue(value);
}

bool has_no_body(int status) noexcept { return status == 204 || status == 304; }

// ---- header fields ---------------------------------------------------------------------------

enum class FieldUse : std::uint8_t { kSend, kDrop, kFail };

FieldUse read_length(Exchange* exchange, std::string_view value) noexcept {
    const char* end = value.data() + value.size();
    std::uint64_t length = 0;
    auto [stop, error] = std::from_chars(value.data(), end, length);
    bool is_number = error == std::errc() && stop == end;
    bool is_first = exchange->framing != ResponseFraming::kLength;
    if (!is_number || (!is_first && exchange->promised != length)) {
        PyErr_SetString(PyExc_ValueError, is_number
                                              ? "the response has two Content-Lengths that differ"
                                              : "the response's Content-Length is not a number");
        return FieldUse::kFail;
    }
    exchange->framing = ResponseFraming::kLength;
    exchange->promised = length;
    bool may_stand = exchange->status != 204;  // RFC 9110, 8.6
    return is_first && may_stand ? FieldUse::kSend : FieldUse::kDrop;
}

// What the field means to the server. How a message is framed and whether the connection stays is
// ours to say.
FieldUse look_at(Exchange* exchange, std::string_view name, std::string_view value) noexcept {
    switch (name.size()) {
        case 4:
        case 6: return takes_own_line(exchange, name) ? FieldUse::kSend : FieldUse::kDrop;
        case 10:
            if (!equals_ignoring_case(name, "connection")) break;
            if (equals_ignoring_case(value, "close")) exchange->keeps_alive = false;
            return FieldUse::kDrop;
        case 14:
            if (equals_ignoring_case(name, "content-length")) return read_length(exchange, value);
            break;
        case 17:
            if (equals_ignoring_case(name, "transfer-encoding")) return FieldUse::kDrop;
            break;
        default: break;
    }
    return FieldUse::kSend;
}

bool check_field(std::string_view name, std::string_view value) noexcept {
    bool is_name = http1::is_field_name(name);
    if (is_name && http1::is_field_value(value)) return true;
    Ref<> shown_name = Ref<>::steal(bytes_of(name)), shown = Ref<>::steal(bytes_of(value));
    if (!shown_name || !shown) return false;
    if (is_name)
        PyErr_Format(PyExc_ValueError, "invalid value of the header %R: %R", shown_name.get(),
                     shown.get());
    else
        PyErr_Format(PyExc_ValueError, "invalid header name: %R", shown_name.get());
    return false;
}

}  // namespace

Ref<> read_field(PyObject* pair, std::string_view& name, std::string_view& value) noexcept {
    Ref<> both = Ref<>::steal(PySequence_Fast(pair, "a header has to be a pair (name, value)"));
    if (!both) return {};
    PyObject** items = PySequence_Fast_ITEMS(both.get());
    if (PySequence_Fast_GET_SIZE(both.get()) != 2 || !PyBytes_Check(items[0]) ||
        !PyBytes_Check(items[1])) {
        PyErr_Format(PyExc_TypeError, "a header has to be a pair of bytes, not %R", pair);
        return {};
    }
    name = view_of_bytes(items[0]);
    value = view_of_bytes(items[1]);
    return check_field(name, value) ? std::move(both) : Ref<>();
}

namespace {

FieldUse look_at_trailer(std::string_view name) noexcept {
    if (http1::may_be_trailer(name)) return FieldUse::kSend;
    Ref<> shown = Ref<>::steal(bytes_of(name));
    if (shown)
        PyErr_Format(PyExc_ValueError, "the header %R can't be sent as a trailer", shown.get());
    return FieldUse::kFail;
}

// One (name, value) of the head, or of the trailers.
bool append_pair(Exchange* exchange, std::string& output, PyObject* pair, bool head) {
    std::string_view name, value;
    Ref<> both = read_field(pair, name, value);
    if (!both) return false;
    FieldUse use = head ? look_at(exchange, name, value) : look_at_trailer(name);
    if (use == FieldUse::kSend) http1::append_field(output, name, value);
    return use != FieldUse::kFail;
}

bool append_fields(Exchange* exchange, std::string& output, PyObject* headers, bool head) {
    Ref<> all = Ref<>::steal(PySequence_Fast(headers, "headers has to be an iterable"));
    if (!all) return false;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(all.get()); ++i) {
        Ref<> pair =
            Ref<>::borrow(PySequence_Fast_GET_ITEM(all.get(), i));  // it may change the list
        if (!append_pair(exchange, output, pair.get(), head)) return false;
    }
    return true;
}

// ---- the head --------------------------------------------------------------------------------

bool read_status(PyObject* message, const AsgiNames& names, int& status) noexcept {
    PyObject* value = item(message, names.status);
    if (value == nullptr) {
        if (PyErr_Occurred() == nullptr) PyErr_SetObject(PyExc_KeyError, names.status);
        return false;
    }
    long number = PyLong_AsLong(value);  // http.HTTPStatus is one
    if (number == -1 && PyErr_Occurred() != nullptr) return false;
    if (number < 200 || number > 999) {
        PyErr_Format(PyExc_ValueError, "a response's status has to be from 200 to 999, not %R",
                     value);
        return false;
    }
    status = static_cast<int>(number);
    return true;
}

bool begin_head(Exchange* exchange, PyObject* message, std::string& output) {
    const AsgiNames& names = exchange->server->service->names;
    int status = 0;
    int trailers = flag(message, names.trailers);
    if (trailers < 0 || !read_status(message, names, status)) return false;
    exchange->head_begin = output.size();
    exchange->framing = ResponseFraming::kUnknown;
    exchange->has_date = exchange->has_server = false;  // a head that is no more may have had them
    exchange->status = static_cast<std::uint16_t>(status);
    http1::append_status_line(output, status);
    PyObject* headers = item(message, names.headers);
    if (headers == nullptr && PyErr_Occurred() != nullptr) return false;
    Ref<> kept;
    if (headers != nullptr && exchange->server->service->logs_headers) {
        kept = Ref<>::steal(PySequence_List(headers));  // which may be an iterator
        headers = kept.get();
        if (headers == nullptr) return false;
    }
    if (headers != nullptr && !append_fields(exchange, output, headers, true)) return false;
    Py_XSETREF(exchange->headers, kept.release());
    exchange->has_trailers = trailers > 0;
    exchange->phase = ResponsePhase::kStarted;
    return true;
}

bool start_response(Exchange* exchange, PyObject* message) noexcept {
    std::string* output = output_of(exchange->connection);
    if (output == nullptr) return false;
    std::size_t begin = output->size();
    try {
        if (begin_head(exchange, message, *output)) return true;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    output->resize(begin);
    return false;
}

void append_length(std::string& output, std::size_t length) {
    output.append("content-length: ");
    http1::append_number(output, length);
    output.append("\r\n");
}

// How the client learns where the body ends: RFC 9112, 6.
void frame(Exchange* exchange, std::string& output, std::size_t size, bool is_last) {
    bool is_empty = has_no_body(exchange->status);
    if (exchange->framing == ResponseFraming::kLength) {
        if (is_empty) exchange->framing = ResponseFraming::kNoBody;
    } else if (is_empty) {
        exchange->framing = ResponseFraming::kNoBody;
    } else if (is_last && !exchange->has_trailers) {
        exchange->framing = ResponseFraming::kLength;
        exchange->promised = size;
        append_length(output, size);
    } else if (!exchange->is_1_0) {
        exchange->framing = ResponseFraming::kChunked;
        output.append("transfer-encoding: chunked\r\n");
    } else {
        exchange->framing = ResponseFraming::kUntilClose;
        exchange->keeps_alive = false;
    }
}

}  // namespace

bool takes_own_line(Exchange* exchange, std::string_view name) noexcept {
    const HttpService* service = exchange->server->service;
    if (equals_ignoring_case(name, "date")) {
        exchange->has_date = true;
        return !service->is_date_given;
    }
    if (equals_ignoring_case(name, "server")) {
        exchange->has_server = true;
        return !service->is_server_given;
    }
    return true;
}

void append_own_lines(HttpServer* server, std::string& output, bool has_date, bool has_server) {
    HttpService* service = server->service;
    if (!has_server) output.append(service->server_line);
    output.append(service->head_lines);
    if (!has_date && service->has_date) output.append(service->date.at(std::time(nullptr)));
}

namespace {

void end_head(Exchange* exchange, std::string& output, std::size_t size, bool is_last) {
    HttpConnection* connection = exchange->connection;
    frame(exchange, output, size, is_last);
    append_own_lines(exchange->server, output, exchange->has_date, exchange->has_server);
    if (connection->closes || has_all_requests(connection) ||
        exchange->server->service->is_draining)
        exchange->keeps_alive = false;
    if (!exchange->keeps_alive)
        output.append("connection: close\r\n");
    else if (exchange->is_1_0)
        output.append("connection: keep-alive\r\n");
    output.append("\r\n");
    exchange->phase = ResponsePhase::kBody;
}

// ---- the body --------------------------------------------------------------------------------

// The body of a message; what is no bytes object is copied into one.
Ref<> body_of(PyObject* message, const AsgiNames& names) noexcept {
    PyObject* body = item(message, names.body);
    if (body == nullptr)
        return PyErr_Occurred() == nullptr ? Ref<>::borrow(names.no_bytes) : Ref<>();
    if (PyBytes_Check(body)) [[likely]]
        return Ref<>::borrow(body);
    if (PyByteArray_Check(body) || PyMemoryView_Check(body))
        return Ref<>::steal(PyBytes_FromObject(body));
    PyErr_Format(PyExc_TypeError, "the body of a response has to be bytes, not %.200s",
                 Py_TYPE(body)->tp_name);
    return {};
}

bool check_length(Exchange* exchange, std::size_t size, bool is_last) noexcept {
    bool has_none = exchange->is_head || has_no_body(exchange->status);
    if (exchange->framing != ResponseFraming::kLength || has_none) return true;
    std::uint64_t total = exchange->sent + size;
    if (total > exchange->promised)
        PyErr_SetString(PyExc_RuntimeError, "Response content longer than Content-Length");
    else if (is_last && total < exchange->promised)
        PyErr_SetString(PyExc_RuntimeError, "Response content shorter than Content-Length");
    else
        return true;
    return false;
}

// What no copy is made of leaves at once, with what stands before it.
bool put_bytes(HttpConnection* connection, std::string& output, PyObject* body) {
    std::string_view text = view_of_bytes(body);
    if (text.size() < kNotCopied) {
        output.append(text);
        return true;
    }
    return send_output(connection, body);
}

bool put_body(Exchange* exchange, PyObject* body) {
    std::size_t size = view_of_bytes(body).size();
    if (size == 0 || exchange->is_head || exchange->framing == ResponseFraming::kNoBody)
        return true;
    exchange->sent += size;
    HttpConnection* connection = exchange->connection;
    if (exchange->framing != ResponseFraming::kChunked)
        return put_bytes(connection, *output_of(connection), body);
    http1::append_chunk_head(*connection->output, size);
    if (!put_bytes(connection, *connection->output, body)) return false;
    // Sending may have lost the connection, and freed the output.
    if (exchange->connection == nullptr) return true;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    output->append("\r\n");
    return true;
}

bool put_end(Exchange* exchange, PyObject* trailers) {
    if (exchange->framing != ResponseFraming::kChunked || exchange->is_head) return true;
    std::string* output = output_of(exchange->connection);
    if (output == nullptr) return false;
    std::size_t begin = output->size();
    output->append("0\r\n");
    if (trailers != nullptr && !append_fields(exchange, *output, trailers, false)) {
        output->resize(begin);  // the application may send others
        return false;
    }
    output->append("\r\n");
    return true;
}

}  // namespace

void log_access(Exchange* exchange) noexcept {
    PyObject* log = exchange->server->log_access;
    if (log == Py_None) return;
    double seconds = std::chrono::duration<double>(now() - exchange->connection->begun).count();
    PyObject* headers = exchange->headers != nullptr ? exchange->headers : Py_None;
    const char* format = exchange->server->service->logs_headers ? "OiKdO" : "OiKd";
    Ref<> done = Ref<>::steal(
        PyObject_CallFunction(log, format, exchange->scope, static_cast<int>(exchange->status),
                              static_cast<unsigned long long>(exchange->sent), seconds, headers));
    if (!done && !take_failure(exchange->server->loop)) PyErr_WriteUnraisable(log);
}

namespace {

void end_response(Exchange* exchange) noexcept {
    exchange->phase = ResponsePhase::kDone;
    Duration elapsed = now() - exchange->connection->begun;
    exchange->server->service->metrics.count_response(exchange->status, elapsed);
    log_access(exchange);
    Ref<HttpConnection> connection =
        Ref<HttpConnection>::steal(std::exchange(exchange->connection, nullptr));
    // The log may have ended it.
    if (connection && connection->exchange == exchange) response_done(connection.get());
    wake_waiting(exchange);
}

// The body goes on behind what was put, or ends there.
bool go_on_or_end(Exchange* exchange, bool is_last) {
    HttpConnection* connection = exchange->connection;
    if (!is_last) {
        if (connection->output != nullptr && connection->output->size() >= kMostOutput)
            return send_output(connection, nullptr);
        depart_soon(connection);
        return true;
    }
    if (exchange->has_trailers) {
        exchange->phase = ResponsePhase::kTrailers;
        depart_soon(connection);
        return true;
    }
    if (!put_end(exchange, nullptr)) return false;
    end_response(exchange);
    return true;
}

bool add_to_response(Exchange* exchange, PyObject* body, bool is_last) {
    HttpConnection* connection = exchange->connection;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    std::size_t size = view_of_bytes(body).size();
    // First, since a head that has no end yet can still become a 500.
    if (!check_length(exchange, size, is_last)) return false;
    if (exchange->phase == ResponsePhase::kStarted) end_head(exchange, *output, size, is_last);
    if (!put_body(exchange, body)) return false;
    if (exchange->connection == nullptr) return true;  // lost meanwhile
    return go_on_or_end(exchange, is_last);
}

bool send_body(Exchange* exchange, PyObject* message) {
    const AsgiNames& names = exchange->server->service->names;
    Ref<> body = body_of(message, names);
    int more = body ? flag(message, names.more_body) : -1;
    return more >= 0 && add_to_response(exchange, body.get(), more == 0);
}

bool send_trailers(Exchange* exchange, PyObject* message) {
    const AsgiNames& names = exchange->server->service->names;
    PyObject* headers = item(message, names.headers);
    int more = flag(message, names.more_trailers);
    if (more < 0) return false;
    if (more > 0) {
        PyErr_SetString(PyExc_ValueError, "trailers have to be sent in one message");
        return false;
    }
    if (!put_end(exchange, headers)) return false;
    end_response(exchange);
    return true;
}

// 103 Early Hints, which a client of HTTP/1.0 would not understand: RFC 8297.
bool send_hints(Exchange* exchange, PyObject* message) {
    if (exchange->is_1_0) return true;
    HttpConnection* connection = exchange->connection;
    PyObject* links = item(message, exchange->server->service->names.links);
    Ref<> all = Ref<>::steal(links != nullptr ? PySequence_Fast(links, "links has to be iterable")
                                              : nullptr);
    std::string* output = all ? output_of(connection) : nullptr;
    if (output == nullptr) return PyErr_Occurred() == nullptr;
    std::size_t begin = output->size();
    http1::append_status_line(*output, 103);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(all.get()); ++i) {
        Ref<> link = Ref<>::borrow(PySequence_Fast_GET_ITEM(all.get(), i));
        if (!PyBytes_Check(link.get()) || !check_field("link", view_of_bytes(link.get()))) {
            output->resize(begin);
            if (PyErr_Occurred() == nullptr)
                PyErr_Format(PyExc_TypeError, "a link has to be bytes, not %R", link.get());
            return false;
        }
        http1::append_field(*output, "link", view_of_bytes(link.get()));
    }
    output->append("\r\n");
    depart_soon(connection);
    return true;
}

}  // namespace

bool act_on(Exchange* exchange, PyObject* message, PyObject* type) {
    const AsgiNames& names = exchange->server->service->names;
    switch (exchange->phase) {
        case ResponsePhase::kNone:
            if (is(type, names.response_start)) return start_response(exchange, message);
            if (is(type, names.response_early_hint)) return send_hints(exchange, message);
            if (is(type, names.response_debug)) return true;  // for tests: nothing is sent
            return unexpected(type, "before 'http.response.start'.");
        case ResponsePhase::kStarted:
        case ResponsePhase::kBody:
            if (is(type, names.response_body)) return send_body(exchange, message);
            return unexpected(type, "where 'http.response.body' is expected.");
        case ResponsePhase::kTrailers:
            if (is(type, names.response_trailers)) return send_trailers(exchange, message);
            return unexpected(type, "where 'http.response.trailers' is expected.");
        case ResponsePhase::kUpgraded:
        case ResponsePhase::kDone: break;
    }
    return unexpected(type, "after response already completed.");
}

bool act_on_message(Exchange* exchange, PyObject* message) noexcept {
    if (!PyDict_Check(message)) {
        PyErr_Format(PyExc_TypeError, "send() takes a message, which is a dict, not %.200s",
                     Py_TYPE(message)->tp_name);
        return false;
    }
    PyObject* key = exchange->server->service->names.type;
    Ref<> type = Ref<>::borrow(item(message, key));
    if (!type) {
        if (PyErr_Occurred() == nullptr) PyErr_SetObject(PyExc_KeyError, key);
        return false;
    }
    // Its connection is held: who is called may lose it.
    Ref<HttpConnection> connection = Ref<HttpConnection>::borrow(exchange->connection);
    if (!connection && exchange->phase != ResponsePhase::kDone) return true;
    try {
        return exchange->websocket != nullptr
                   ? act_on_websocket_message(exchange, message, type.get())
                   : act_on(exchange, message, type.get());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

bool has_file(Exchange* exchange, PyObject* message) noexcept {
    bool may_come =
        exchange->connection != nullptr &&
        (exchange->phase == ResponsePhase::kStarted || exchange->phase == ResponsePhase::kBody);
    if (!may_come || !PyDict_Check(message)) return false;
    const AsgiNames& names = exchange->server->service->names;
    PyObject* type = item(message, names.type);
    if (type == nullptr || type == names.response_body) return PyErr_Clear(), false;
    return is(type, names.response_pathsend) || is(type, names.response_zerocopysend);
}

bool begin_file(Exchange* exchange, std::uint64_t size, bool is_last, bool& is_sent) noexcept {
    HttpConnection* connection = exchange->connection;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    try {
        if (!check_length(exchange, size, is_last)) return false;
        if (exchange->phase == ResponsePhase::kStarted) end_head(exchange, *output, size, is_last);
        is_sent = size > 0 && !exchange->is_head && exchange->framing != ResponseFraming::kNoBody;
        if (is_sent) exchange->sent += size;
        if (is_sent && exchange->framing == ResponseFraming::kChunked)
            http1::append_chunk_head(*output, size);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    return !is_sent || send_output(connection, nullptr);
}

bool end_file(Exchange* exchange, bool is_sent, bool is_last) noexcept {
    if (exchange->connection == nullptr) return true;
    try {
        if (is_sent && exchange->framing == ResponseFraming::kChunked) {
            std::string* output = output_of(exchange->connection);
            if (output == nullptr) return false;
            output->append("\r\n");
        }
        return go_on_or_end(exchange, is_last);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

void append_refusal(std::string& output, HttpServer* server, int status, const char* text) {
    std::string_view body = text;
    http1::append_status_line(output, status);
    append_own_lines(server, output, false, false);
    // RFC 9110, 15.5.22, and RFC 6455, 4.4: what could be asked for.
    if (status == 426) output.append("upgrade: websocket\r\nsec-websocket-version: 13\r\n");
    output.append("content-type: text/plain; charset=utf-8\r\n");
    append_length(output, body.size());
    output.append("connection: close\r\n\r\n");
    output.append(body);
}

bool answer(Exchange* exchange, int status, const char* text) noexcept {
    std::string* output = output_of(exchange->connection);
    if (output == nullptr) return false;
    exchange->keeps_alive = false;
    exchange->status = static_cast<std::uint16_t>(status);
    try {
        std::size_t begin = output->size();
        append_refusal(*output, exchange->server, status, text);
        if (exchange->is_head) output->resize(output->size() - std::string_view(text).size());
        exchange->sent = exchange->is_head ? 0 : output->size() - begin;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    exchange->is_gone = true;  // what the application still sends has nowhere to go
    end_response(exchange);
    return true;
}

}  // namespace penstock::py
