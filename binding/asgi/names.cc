#include "asgi/names.h"

namespace penstock::py {

bool AsgiNames::fill() noexcept {
#define NAME(name)                                  \
    this->name = PyUnicode_InternFromString(#name); \
    if (this->name == nullptr) return false;
#define TEXT(name, text)                             \
    this->name = PyUnicode_InternFromString((text)); \
    if (this->name == nullptr) return false;
    PENSTOCK_ASGI_NAMES(NAME)
    PENSTOCK_ASGI_TEXTS(TEXT)
#undef NAME
#undef TEXT
    no_bytes = PyBytes_FromStringAndSize(nullptr, 0);
    if (no_bytes == nullptr) return false;
    request_message = Py_BuildValue("{OOOOOO}", type, request, body, no_bytes, more_body, Py_False);
    disconnect_message = Py_BuildValue("{OO}", type, disconnect);
    return request_message != nullptr && disconnect_message != nullptr;
}

AsgiNames::~AsgiNames() {
#define NAME(name) Py_CLEAR(name);
#define TEXT(name, text) Py_CLEAR(name);
    PENSTOCK_ASGI_NAMES(NAME)
    PENSTOCK_ASGI_TEXTS(TEXT)
#undef NAME
#undef TEXT
    Py_CLEAR(no_bytes);
    Py_CLEAR(request_message);
    Py_CLEAR(disconnect_message);
}

}  // namespace penstock::py
