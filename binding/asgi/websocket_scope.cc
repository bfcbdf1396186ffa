// The exchange of a request for a websocket, and its scope: ASGI's of HTTP, changed.
#include <memory>
#include <new>

#include "asgi/exchange.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

// Those that are not HTTP's own, and that a denial may be a whole response.
PyObject* extensions_of(PyObject* all, const AsgiNames& names) noexcept {
    Ref<> kept = Ref<>::steal(PyDict_New());
    if (!kept) return nullptr;
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(all, &at, &name, &value) != 0) {
        bool is_https = PyUnicode_Check(name) &&
                        PyUnicode_Tailmatch(name, names.http_dot, 0, PY_SSIZE_T_MAX, -1) > 0;
        if (!is_https && PyDict_SetItem(kept.get(), name, value) < 0) return nullptr;
    }
    Ref<> empty = Ref<>::steal(PyDict_New());
    if (!empty || PyDict_SetItem(kept.get(), names.websocket_response, empty.get()) < 0)
        return nullptr;
    return kept.release();
}

PyObject* subprotocols_of(const websocket::Handshake& handshake) noexcept {
    Ref<> list = Ref<>::steal(PyList_New(0));
    if (!list) return nullptr;
    for (std::string_view each : handshake.subprotocols()) {
        Ref<> text = Ref<>::steal(PyUnicode_DecodeASCII(
            each.data(), static_cast<Py_ssize_t>(each.size()), nullptr));  // a token
        if (!text || PyList_Append(list.get(), text.get()) < 0) return nullptr;
    }
    return list.release();
}

bool change_scope(PyObject* scope, HttpConnection* connection,
                  const websocket::Handshake& handshake) noexcept {
    const AsgiNames& names = connection->server->service->names;
    // A proxy may have told it: is_tls is of our own connection.
    PyObject* scheme = PyDict_GetItemWithError(scope, names.scheme);
    bool is_secure = scheme != nullptr && PyUnicode_CompareWithASCIIString(scheme, "https") == 0;
    PyObject* extensions = PyDict_GetItemWithError(scope, names.extensions);
    Ref<> kept = Ref<>::steal(extensions != nullptr ? extensions_of(extensions, names) : nullptr);
    Ref<> subprotocols = Ref<>::steal(kept ? subprotocols_of(handshake) : nullptr);
    return subprotocols && PyDict_DelItem(scope, names.method) == 0 &&
           PyDict_SetItem(scope, names.type, names.websocket) == 0 &&
           PyDict_SetItem(scope, names.scheme, is_secure ? names.wss : names.ws) == 0 &&
           PyDict_SetItem(scope, names.extensions, kept.get()) == 0 &&
           PyDict_SetItem(scope, names.subprotocols, subprotocols.get()) == 0;
}

}  // namespace

Exchange* new_websocket_exchange(HttpConnection* connection, const http1::Request& request,
                                 const websocket::Handshake& handshake) noexcept {
    Ref<Exchange> exchange = Ref<Exchange>::steal(new_exchange(connection, request));
    if (!exchange || !change_scope(exchange->scope, connection, handshake)) return nullptr;
    try {
        auto made = std::make_unique<WebSocket>();
        made->accept = websocket::accept_of(handshake.key());
        if (connection->server->service->websockets.deflates) made->deflate = handshake.deflate();
        exchange->websocket = made.release();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return nullptr;
    }
    return exchange.release();
}

}  // namespace penstock::py
