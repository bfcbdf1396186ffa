// The scope of a request: ASGI 3, spec version 2.5 of HTTP.
#pragma once

#include <string_view>

#include "http1/request.h"
#include "py/python.h"

namespace penstock::py {

struct HttpServer;
struct HttpConnection;

// What all scopes of a server have: copied for each. nullptr with an exception set, as below.
PyObject* new_scope_template(HttpServer* server, const char* type) noexcept;

// A new dict.
PyObject* new_scope(HttpConnection* connection, const http1::Request& request) noexcept;

}  // namespace penstock::py
