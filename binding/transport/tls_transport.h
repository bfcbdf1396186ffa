// _core.SSLTransport: what an application has of a TLS connection. It is the transport towards the
// application and, natively, the protocol of the transport below.
#pragma once

#include "loop/loop.h"
#include "py/python.h"
#include "transport/tls_session.h"

namespace penstock::py {

struct TlsTransport {
    PyObject_HEAD PyObject* extra;  // the slot of asyncio.BaseTransport
    TlsSession* session;
    PyObject* dict;
    PyObject* weakrefs;
};

// One that waits for begin(): it is to become the protocol of a transport. nullptr with an
// exception set.
PyObject* make_tls_transport(Loop* loop, const TlsOptions& options) noexcept;

bool add_tls_transport_type(PyObject* module, State* state, PyObject* base) noexcept;

}  // namespace penstock::py
