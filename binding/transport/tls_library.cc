#include "transport/tls_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "py/state.h"

namespace penstock::py {
namespace {

// _ssl._SSLSocket of CPython 3.11 to 3.15, as far as it is read.
struct InnerObject {
    PyObject_HEAD PyObject* socket;
    tls::OpenSslApi::Ssl* ssl;
    PyObject* context;
};

void say_why(TlsLibrary* library, const char* why) noexcept {
    PyErr_Clear();
    if (library->why_not_direct == nullptr) library->why_not_direct = PyUnicode_FromString(why);
    PyErr_Clear();
}

// Asked for each connection: a program may set it for a part of its run.
bool is_forced() noexcept {
    const char* wanted = std::getenv("PENSTOCK_TLS");
    return wanted != nullptr && std::strcmp(wanted, "memorybio") == 0;
}

// OpenSSL's functions in `handle`, where they are of the version that `_ssl` works with.
const char* load_from(tls::OpenSslApi& api, void* handle, unsigned long version) noexcept {
    const char* missing =
        api.load([](void* context, const char* name) { return ::dlsym(context, name); }, handle);
    if (missing != nullptr) return "the ssl module does not show OpenSSL's functions";
    if (api.OpenSSL_version_num() != version)
        return "the ssl module uses another version of OpenSSL than was found";
    return nullptr;
}

// The library that `_ssl` is linked to: the module's own handle finds what it depends on, and
// nothing that other modules have brought along. But where one of those was loaded before, for all
// to see (RTLD_GLOBAL), the linker has given _ssl that one; which it was is checked by an object.
const char* open_library(TlsLibrary* library, PyObject* module) noexcept {
    Ref<> file = Ref<>::steal(PyObject_GetAttrString(module, "__file__"));
    const char* path = file ? PyUnicode_AsUTF8(file.get()) : nullptr;
    if (path == nullptr) return "the ssl module is built into Python";
    Ref<> number = Ref<>::steal(PyObject_GetAttrString(module, "OPENSSL_VERSION_NUMBER"));
    unsigned long version = number ? PyLong_AsUnsignedLong(number.get()) : 0;
    if (PyErr_Occurred()) return "the ssl module does not tell its version of OpenSSL";
    void* handle = ::dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) return "the library of the ssl module can't be opened";
    const char* why = load_from(library->openssl.api, handle, version);
    ::dlclose(handle);  // the module itself keeps it loaded
    if (why != nullptr && load_from(library->openssl.api, RTLD_DEFAULT, version) != nullptr)
        return why;
    Ref<> type = Ref<>::steal(PyObject_GetAttrString(module, "_SSLSocket"));
    if (!type || !PyType_Check(type.get()) ||
        reinterpret_cast<PyTypeObject*>(type.get())->tp_basicsize <
            static_cast<Py_ssize_t>(sizeof(InnerObject)))
        return "the layout of the ssl module's objects is unknown";
    if (const char* failed = library->openssl.make_method()) return failed;
    library->inner_type = reinterpret_cast<PyTypeObject*>(type.release());
    return nullptr;
}

// Whether `ssl` was made by the copy of OpenSSL whose functions we have.
bool is_of(const tls::OpenSslApi& api, const tls::OpenSslApi::Ssl* ssl) noexcept {
    Dl_info maker, ours;
    return ::dladdr(api.SSL_get_ssl_method(ssl), &maker) != 0 &&
           ::dladdr(reinterpret_cast<const void*>(api.SSL_read_ex), &ours) != 0 &&
           maker.dli_fbase == ours.dli_fbase;
}

bool fill(TlsLibrary* library) noexcept {
    Ref<> ssl = Ref<>::steal(PyImport_ImportModule("ssl"));
    Ref<> inner = Ref<>::steal(ssl ? PyImport_ImportModule("_ssl") : nullptr);
    if (!inner) return false;
    struct {
        PyObject*& slot;
        const char* name;
    } names[] = {{library->ssl_error, "SSLError"},
                 {library->want_read, "SSLWantReadError"},
                 {library->syscall_error, "SSLSyscallError"},
                 {library->certificate_error, "CertificateError"},
                 {library->ssl_object, "SSLObject"},
                 {library->memory_bio, "MemoryBIO"}};
    for (auto& [slot, name] : names)
        if ((slot = PyObject_GetAttrString(ssl.get(), name)) == nullptr) return false;
    if (const char* why = open_library(library, inner.get())) say_why(library, why);
    return true;
}

}  // namespace

TlsLibrary::~TlsLibrary() {
    for (PyObject* kept : {ssl_error, want_read, syscall_error, certificate_error, ssl_object,
                           memory_bio, object(inner_type), why_not_direct})
        Py_XDECREF(kept);
}

TlsLibrary* tls_library(State* state) noexcept {
    if (state->tls != nullptr) return state->tls;
    auto* library = new (std::nothrow) TlsLibrary();
    if (library == nullptr) {
        PyErr_NoMemory();
        return nullptr;
    }
    if (!fill(library) || state->tls != nullptr) {  // an import may have let another thread in
        delete library;
        return state->tls;
    }
    return state->tls = library;
}

tls::OpenSslApi::Ssl* ssl_pointer(TlsLibrary* library, PyObject* sslobject) noexcept {
    if (library->inner_type == nullptr || is_forced()) return nullptr;
    if (object(Py_TYPE(sslobject)) != library->ssl_object) {
        // It may have methods of its own for reading and writing.
        say_why(library, "the SSLObject is of a subclass");
        return nullptr;
    }
    Ref<> inner = Ref<>::steal(PyObject_GetAttrString(sslobject, "_sslobj"));
    Ref<> context = Ref<>::steal(inner && Py_TYPE(inner.get()) == library->inner_type
                                     ? PyObject_GetAttrString(inner.get(), "context")
                                     : nullptr);
    if (!context) {
        say_why(library, "ssl.SSLObject has no object of the ssl module's inside");
        return nullptr;
    }
    auto* fields = reinterpret_cast<InnerObject*>(inner.get());
    if (fields->context != context.get() || fields->ssl == nullptr ||
        library->openssl.api.SSL_get_ex_data(fields->ssl, 0) != inner.get()) {
        say_why(library, "the layout of the ssl module's objects is unknown");
        return nullptr;
    }
    if (!library->is_checked && !is_of(library->openssl.api, fields->ssl)) {
        say_why(library, "the ssl module's objects are of another copy of OpenSSL");
        Py_CLEAR(library->inner_type);
        return nullptr;
    }
    library->is_checked = true;
    return fields->ssl;
}

namespace {

// An object to probe: all are made alike.
Ref<> make_probe(TlsLibrary* library) noexcept {
    Ref<> ssl = Ref<>::steal(PyImport_ImportModule("ssl"));
    Ref<> protocol =
        Ref<>::steal(ssl ? PyObject_GetAttrString(ssl.get(), "PROTOCOL_TLS_SERVER") : nullptr);
    Ref<> context = Ref<>::steal(
        protocol ? PyObject_CallMethod(ssl.get(), "SSLContext", "O", protocol.get()) : nullptr);
    Ref<> incoming = Ref<>::steal(context ? PyObject_CallNoArgs(library->memory_bio) : nullptr);
    Ref<> outgoing = Ref<>::steal(incoming ? PyObject_CallNoArgs(library->memory_bio) : nullptr);
    return Ref<>::steal(outgoing ? PyObject_CallMethod(context.get(), "wrap_bio", "OOO",
                                                       incoming.get(), outgoing.get(), Py_True)
                                 : nullptr);
}

}  // namespace

PyObject* tls_path(PyObject* module, PyObject*) {
    TlsLibrary* library = tls_library(state_of(module));
    if (library == nullptr) return nullptr;
    if (is_forced()) return Py_BuildValue("(Os)", Py_False, "PENSTOCK_TLS=memorybio is set");
    Ref<> probe = make_probe(library);
    if (!probe) return nullptr;
    bool is_direct = ssl_pointer(library, probe.get()) != nullptr;
    PyObject* why = library->why_not_direct != nullptr ? library->why_not_direct : Py_None;
    return Py_BuildValue("(OO)", is_direct ? Py_True : Py_False, is_direct ? Py_None : why);
}

}  // namespace penstock::py
