// The strings of ASGI's messages and scopes, interned, and what else messages are made of. Of one
// server.
#pragma once

#include "py/python.h"

namespace penstock::py {

// Keys and values that are named as they read.
#define PENSTOCK_ASGI_NAMES(NAME) \
    NAME(asgi)                    \
    NAME(body)                    \
    NAME(bytes)                   \
    NAME(client)                  \
    NAME(code)                    \
    NAME(extensions)              \
    NAME(headers)                 \
    NAME(http)                    \
    NAME(http_version)            \
    NAME(https)                   \
    NAME(links)                   \
    NAME(method)                  \
    NAME(more_body)               \
    NAME(more_trailers)           \
    NAME(path)                    \
    NAME(query_string)            \
    NAME(raw_path)                \
    NAME(reason)                  \
    NAME(root_path)               \
    NAME(scheme)                  \
    NAME(server)                  \
    NAME(spec_version)            \
    NAME(state)                   \
    NAME(status)                  \
    NAME(subprotocol)             \
    NAME(subprotocols)            \
    NAME(text)                    \
    NAME(tls)                     \
    NAME(trailers)                \
    NAME(type)                    \
    NAME(version)                 \
    NAME(websocket)               \
    NAME(ws)                      \
    NAME(wss)

// The others.
#define PENSTOCK_ASGI_TEXTS(TEXT)                                   \
    TEXT(get, "GET")                                                \
    TEXT(post, "POST")                                              \
    TEXT(version_1_0, "1.0")                                        \
    TEXT(version_1_1, "1.1")                                        \
    TEXT(no_text, "")                                               \
    TEXT(request, "http.request")                                   \
    TEXT(disconnect, "http.disconnect")                             \
    TEXT(response_start, "http.response.start")                     \
    TEXT(response_body, "http.response.body")                       \
    TEXT(response_trailers, "http.response.trailers")               \
    TEXT(response_pathsend, "http.response.pathsend")               \
    TEXT(response_zerocopysend, "http.response.zerocopysend")       \
    TEXT(response_early_hint, "http.response.early_hint")           \
    TEXT(response_debug, "http.response.debug")                     \
    TEXT(http_dot, "http.")                                         \
    TEXT(websocket_connect, "websocket.connect")                    \
    TEXT(websocket_receive, "websocket.receive")                    \
    TEXT(websocket_disconnect, "websocket.disconnect")              \
    TEXT(websocket_accept, "websocket.accept")                      \
    TEXT(websocket_send, "websocket.send")                          \
    TEXT(websocket_close, "websocket.close")                        \
    TEXT(websocket_response, "websocket.http.response")             \
    TEXT(websocket_response_start, "websocket.http.response.start") \
    TEXT(websocket_response_body, "websocket.http.response.body")

struct AsgiNames {
#define NAME(name) PyObject* name = nullptr;
#define TEXT(name, text) PyObject* name = nullptr;
    PENSTOCK_ASGI_NAMES(NAME)
    PENSTOCK_ASGI_TEXTS(TEXT)
#undef NAME
#undef TEXT
    PyObject* no_bytes = nullptr;
    PyObject* request_message = nullptr;     // an empty one, to be copied
    PyObject* disconnect_message = nullptr;  // the same

    AsgiNames() = default;
    AsgiNames(const AsgiNames&) = delete;
    AsgiNames& operator=(const AsgiNames&) = delete;
    ~AsgiNames();

    bool fill() noexcept;  // false with MemoryError set
};

}  // namespace penstock::py
