#include "transport/stream_protocol.h"

#include "asgi/http_connection.h"
#include "py/state.h"
#include "streams/reader_protocol.h"
#include "transport/tls_transport.h"

namespace penstock::py {

bool StreamProtocol::on_object(PyObject* bytes) noexcept {
    return on_bytes({reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(bytes)),
                     static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))});
}

StreamProtocol* native_protocol(State* state, PyObject* protocol) noexcept {
    PyTypeObject* type = Py_TYPE(protocol);
    if (type == state->tls_transport) return reinterpret_cast<TlsTransport*>(protocol)->session;
    if (type == state->http_connection) return native_http_protocol(protocol);
    if (type != state->stream_reader_protocol) return nullptr;
    ReaderProtocol* part = reader_protocol_of(protocol);
    if (part == nullptr) PyErr_Clear();  // its __init__() was not called: its methods will say so
    return part != nullptr ? &part->link : nullptr;
}

}  // namespace penstock::py
