// The messages of a websocket's application as frames, or as the response that denies it.
#include "asgi/exchange.h"
#include "asgi/message.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "http1/response.h"
#include "py/ref.h"
#include "py/types.h"
#include "websocket/field_list.h"
#include "websocket/frame.h"

namespace penstock::py {
namespace {

// Borrowed; None counts as missing. Where it is missing an exception may be set.
PyObject* item(PyObject* message, PyObject* key) noexcept {
    PyObject* value = PyDict_GetItemWithError(message, key);
    return value != Py_None ? value : nullptr;
}

// The UTF-8 that a str keeps; false with an exception set.
bool utf8_of(PyObject* text, const char* what, std::string_view& out) noexcept {
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s has to be a str, not %.200s", what,
                     Py_TYPE(text)->tp_name);
        return false;
    }
    Py_ssize_t size;
    const char* data = PyUnicode_AsUTF8AndSize(text, &size);
    if (data == nullptr) return false;
    out = {data, static_cast<std::size_t>(size)};
    return true;
}

// ---- the handshake ---------------------------------------------------------------------------

// What the handshake says itself, the application can't say otherwise.
bool is_ours(std::string_view name, bool has_subprotocol) noexcept {
    for (const char* word : {"connection", "upgrade", "content-length", "transfer-encoding",
                             "sec-websocket-accept", "sec-websocket-extensions"})
        if (equals_ignoring_case(name, word)) return true;
    return has_subprotocol && equals_ignoring_case(name, "sec-websocket-protocol");
}

bool append_headers(Exchange* exchange, std::string& output, PyObject* headers,
                    bool has_subprotocol) {
    Ref<> all = Ref<>::steal(PySequence_Fast(headers, "headers has to be an iterable"));
    if (!all) return false;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(all.get()); ++i) {
        std::string_view name, value;
        Ref<> given = Ref<>::borrow(PySequence_Fast_GET_ITEM(all.get(), i));
        Ref<> pair = read_field(given.get(), name, value);
        if (!pair) return false;
        if (!is_ours(name, has_subprotocol) && takes_own_line(exchange, name))
            http1::append_field(output, name, value);
    }
    return true;
}

bool append_handshake(Exchange* exchange, PyObject* message, std::string& output) {
    const AsgiNames& names = exchange->server->service->names;
    const WebSocket& websocket = *exchange->websocket;
    exchange->has_date = exchange->has_server = false;
    http1::append_status_line(output, 101);
    output += "upgrade: websocket\r\nconnection: Upgrade\r\n";
    http1::append_field(output, "sec-websocket-accept", websocket.accept);
    if (websocket.deflate)
        http1::append_field(output, "sec-websocket-extensions",
                            websocket::deflate_response(*websocket.deflate));
    PyObject* subprotocol = item(message, names.subprotocol);
    if (subprotocol != nullptr) {
        std::string_view text;
        if (!utf8_of(subprotocol, "subprotocol", text)) return false;
        if (!websocket::is_token(text)) {
            PyErr_Format(PyExc_ValueError, "subprotocol has to be a token, not %R", subprotocol);
            return false;
        }
        http1::append_field(output, "sec-websocket-protocol", text);
    }
    PyObject* headers = item(message, names.headers);
    if (headers != nullptr && !append_headers(exchange, output, headers, subprotocol != nullptr))
        return false;
    if (PyErr_Occurred() != nullptr) return false;
    append_own_lines(exchange->server, output, exchange->has_date, exchange->has_server);
    output += "\r\n";
    return true;
}

bool accept(Exchange* exchange, PyObject* message) {
    HttpConnection* connection = exchange->connection;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    std::size_t begin = output->size();
    try {
        if (!append_handshake(exchange, message, *output)) {
            output->resize(begin);
            return false;
        }
    } catch (...) {
        output->resize(begin);
        throw;
    }
    depart_soon(connection);
    exchange->status = 101;
    HttpMetrics& metrics = exchange->server->service->metrics;
    metrics.count_response(101);
    ++metrics.websockets;
    log_access(exchange);
    if (exchange->connection != nullptr) open_websocket(exchange);  // the log may have ended it
    return true;
}

bool deny(Exchange* exchange) noexcept {
    WebSocket& websocket = *exchange->websocket;
    websocket.phase = WebSocketPhase::kDenied;
    return answer(exchange, 403, "");
}

// ---- messages --------------------------------------------------------------------------------

// `keeper` is a bytes object with the payload, or nullptr.
bool send_payload(Exchange* exchange, websocket::Opcode opcode, std::string_view payload,
                  PyObject* keeper) {
    WebSocket& websocket = *exchange->websocket;
    HttpConnection* connection = exchange->connection;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    ++exchange->server->service->metrics.messages_sent;
    std::string_view packed;
    if (websocket.deflate)
        packed = exchange->server->service->websockets.pool.pack(
            payload, websocket.deflate->server_window_bits);
    bool is_packed = !packed.empty();
    if (is_packed) payload = packed;
    output->reserve(output->size() + websocket::kLongestHead +
                    (keeper != nullptr && !is_packed ? 0 : payload.size()));
    websocket::append_frame_head(*output, opcode, payload.size(), is_packed);
    if (!is_packed && keeper != nullptr) return send_output(connection, keeper);
    output->append(payload);
    if (output->size() >= kMostOutput) return send_output(connection, nullptr);
    depart_soon(connection);
    return true;
}

bool send_text(Exchange* exchange, PyObject* text) {
    std::string_view payload;
    if (!utf8_of(text, "text", payload)) return false;
    if (payload.size() < kNotCopied)
        return send_payload(exchange, websocket::Opcode::kText, payload, nullptr);
    Ref<> bytes = Ref<>::steal(bytes_of(payload));
    return bytes && send_payload(exchange, websocket::Opcode::kText, view_of_bytes(bytes.get()),
                                 bytes.get());
}

bool send_bytes(Exchange* exchange, PyObject* data) {
    bool is_bytes = PyBytes_Check(data);
    if (!is_bytes && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError, "bytes has to be bytes, not %.200s", Py_TYPE(data)->tp_name);
        return false;
    }
    Ref<> bytes = is_bytes ? Ref<>::borrow(data) : Ref<>::steal(PyBytes_FromObject(data));
    if (!bytes) return false;
    std::string_view payload = view_of_bytes(bytes.get());
    return send_payload(exchange, websocket::Opcode::kBinary, payload,
                        payload.size() < kNotCopied ? nullptr : bytes.get());
}

bool send_message(Exchange* exchange, PyObject* message) {
    const AsgiNames& names = exchange->server->service->names;
    if (PyObject* bytes = item(message, names.bytes); bytes != nullptr)
        return send_bytes(exchange, bytes);
    if (PyObject* text = item(message, names.text); text != nullptr)
        return send_text(exchange, text);
    if (PyErr_Occurred() == nullptr)
        PyErr_SetString(PyExc_ValueError, "a message to send has to have bytes or text");
    return false;
}

bool close(Exchange* exchange, PyObject* message) noexcept {
    const AsgiNames& names = exchange->server->service->names;
    long code = websocket::kNormalClosure;
    if (PyObject* given = item(message, names.code); given != nullptr) code = PyLong_AsLong(given);
    if (PyErr_Occurred() != nullptr) return false;
    bool is_one =
        code >= 0 && code < 5000 && websocket::is_close_code(static_cast<std::uint16_t>(code));
    if (!is_one) {
        PyErr_Format(PyExc_ValueError, "a websocket can't be closed with the code %ld", code);
        return false;
    }
    std::string_view text;
    PyObject* reason = item(message, names.reason);
    if (reason != nullptr && !utf8_of(reason, "reason", text)) return false;
    if (PyErr_Occurred() != nullptr) return false;
    close_websocket(exchange, static_cast<std::uint16_t>(code), text);
    return true;
}

}  // namespace

bool act_on_websocket_message(Exchange* exchange, PyObject* message, PyObject* type) {
    const AsgiNames& names = exchange->server->service->names;
    WebSocket& websocket = *exchange->websocket;
    switch (websocket.phase) {
        case WebSocketPhase::kConnecting:
            if (is(type, names.websocket_accept)) return accept(exchange, message);
            if (is(type, names.websocket_close)) return deny(exchange);
            if (is(type, names.websocket_response_start)) {
                if (!act_on(exchange, message, names.response_start)) return false;
                websocket.phase = WebSocketPhase::kDenied;
                return true;
            }
            return unexpected(type,
                              "where 'websocket.accept', 'websocket.close' or "
                              "'websocket.http.response.start' is expected.");
        case WebSocketPhase::kDenied:
            if (is(type, names.websocket_response_body))
                return act_on(exchange, message, names.response_body);
            return unexpected(type, "where 'websocket.http.response.body' is expected.");
        case WebSocketPhase::kOpen:
            if (is(type, names.websocket_send)) return send_message(exchange, message);
            if (is(type, names.websocket_close)) return close(exchange, message);
            return unexpected(type, "where 'websocket.send' or 'websocket.close' is expected.");
        case WebSocketPhase::kClosing:
        case WebSocketPhase::kOver: break;
    }
    return unexpected(type, "after 'websocket.close'.");
}

}  // namespace penstock::py
