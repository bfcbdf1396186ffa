// What the module uses of Python's ssl, found when the first TLS transport is made: its classes,
// and, where the probe allows it, OpenSSL's functions in the very library that _ssl has loaded.
//
// The direct way needs the SSL* inside of an ssl.SSLObject. CPython does not give it away, so its
// place is taken from the layout that all supported versions share, and every object is checked
// against what is known of it: the field behind the pointer is the object's context, and OpenSSL's
// own data of the SSL* is the object. Where anything differs, MemoryBIOs serve.
#pragma once

#include "py/python.h"
#include "py/ref.h"
#include "tls/openssl_cipher.h"

namespace penstock::py {

struct State;

struct TlsLibrary {
    PyObject* ssl_error = nullptr;
    PyObject* want_read = nullptr;
    PyObject* syscall_error = nullptr;
    PyObject* certificate_error = nullptr;
    PyObject* ssl_object = nullptr;  // ssl.SSLObject
    PyObject* memory_bio = nullptr;

    PyTypeObject* inner_type = nullptr;  // _ssl._SSLSocket, nullptr: no direct way
    tls::OpenSsl openssl;
    bool is_checked = false;  // an object has shown that these are its library's functions
    PyObject* why_not_direct = nullptr;  // str, nullptr where there is no reason yet
    tls::BufferPool pool;

    ~TlsLibrary();
};

// nullptr with an exception set where there is no ssl module.
TlsLibrary* tls_library(State* state) noexcept;

// The SSL* of `sslobject`, or nullptr where it can't be had; then why_not_direct says why.
// No exception is left.
tls::OpenSslApi::Ssl* ssl_pointer(TlsLibrary* library, PyObject* sslobject) noexcept;

// tls_path() -> (whether the direct way is open, why not or None)
PyObject* tls_path(PyObject* module, PyObject*);

}  // namespace penstock::py
