#include "asgi/scope.h"

#include <new>
#include <string>

#include "asgi/http_connection.h"
#include "asgi/http_server.h"
#include "asgi/text.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

struct Target {
    std::string_view path;  // as it was sent, without the query
    std::string_view query;
};

// RFC 9112, 3.2: of the absolute form, which a proxy's client sends, the path is what counts; of
// "*" and of CONNECT's authority there is no path, and it stands for itself.
Target split(std::string_view target) noexcept {
    if (!target.empty() && target.front() != '/') {
        std::size_t scheme = target.find("://");
        if (scheme != std::string_view::npos && scheme < target.find('?')) {
            std::size_t path = target.find_first_of("/?", scheme + 3);
            target = path == std::string_view::npos ? "/" : target.substr(path);
            if (target.front() == '?') return {"/", target.substr(1)};
        }
    }
    std::size_t mark = target.find('?');
    if (mark == std::string_view::npos) return {target, {}};
    return {target.substr(0, mark), target.substr(mark + 1)};
}

int digit(char letter) noexcept {
    if (letter >= '0' && letter <= '9') return letter - '0';
    char lower = lower_case(letter);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// As urllib.parse.unquote(): what is no escape stays, what is no UTF-8 is replaced.
PyObject* unquoted(std::string_view path) noexcept {
    std::string text;
    try {
        text.reserve(path.size());
        for (std::size_t i = 0; i < path.size(); ++i) {
            bool is_escape = path[i] == '%' && i + 2 < path.size() && digit(path[i + 1]) >= 0 &&
                             digit(path[i + 2]) >= 0;
            if (is_escape) {
                text.push_back(static_cast<char>(digit(path[i + 1]) * 16 + digit(path[i + 2])));
                i += 2;
            } else {
                text.push_back(path[i]);
            }
        }
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

PyObject* decoded(std::string_view path) noexcept {
    if (path.find('%') != std::string_view::npos) return unquoted(path);
    return PyUnicode_DecodeUTF8(path.data(), static_cast<Py_ssize_t>(path.size()), "replace");
}

PyObject* method_of(const HttpServer* server, std::string_view method) noexcept {
    if (method == "GET") return Py_NewRef(server->service->names.get);
    if (method == "POST") return Py_NewRef(server->service->names.post);
    return PyUnicode_FromStringAndSize(method.data(), static_cast<Py_ssize_t>(method.size()));
}

// Whether a proxy tells of its client by that field: rarely, and so by the length first.
bool is_of_a_proxy(std::string_view name) noexcept {
    switch (name.size()) {
        case 9: return equals_ignoring_case(name, "forwarded");
        case 15: return equals_ignoring_case(name, "x-forwarded-for");
        case 17: return equals_ignoring_case(name, "x-forwarded-proto");
        default: return false;
    }
}

// Whether that client is to be looked for is known only to Python, which is asked where there is
// such a field: requests without cost nothing, whoever they come from.
bool look_behind_proxies(HttpServer* server, PyObject* scope,
                         std::span<const http1::Field> fields) noexcept {
    if (server->forwarded == Py_None) return true;
    for (const http1::Field& field : fields) {
        if (!is_of_a_proxy(field.name)) continue;
        Ref<> done = Ref<>::steal(PyObject_CallOneArg(server->forwarded, scope));
        return static_cast<bool>(done);
    }
    return true;
}

PyObject* fields_of(HttpServer* server, std::span<const http1::Field> fields) noexcept {
    Ref<> list = Ref<>::steal(PyList_New(static_cast<Py_ssize_t>(fields.size())));
    if (!list) return nullptr;
    Py_ssize_t at = 0;
    for (const http1::Field& field : fields) {
        PyObject* pair = server->service->fields.pair_of(field);
        if (pair == nullptr) return nullptr;
        PyList_SET_ITEM(list.get(), at++, pair);
    }
    return list.release();
}

bool put(PyObject* scope, PyObject* key, PyObject* value) noexcept {  // steals the value
    if (value == nullptr) return false;
    bool done = PyDict_SetItem(scope, key, value) == 0;
    Py_DECREF(value);
    return done;
}

bool put_path(HttpServer* server, PyObject* scope, std::string_view target) noexcept {
    const AsgiNames& names = server->service->names;
    auto [path, query] = split(target);
    Ref<> raw = Ref<>::steal(bytes_of(path));
    Ref<> text = Ref<>::steal(raw ? decoded(path) : nullptr);
    if (!text) return false;
    if (PyUnicode_GET_LENGTH(server->root_path) > 0) {
        text = Ref<>::steal(PyUnicode_Concat(server->root_path, text.get()));
        Ref<> root = Ref<>::steal(PyUnicode_AsUTF8String(server->root_path));
        PyObject* whole = root.release();
        if (whole != nullptr) PyBytes_Concat(&whole, raw.get());
        raw = Ref<>::steal(whole);
        if (!text || !raw) return false;
    }
    PyObject* empty = server->service->names.no_bytes;
    return put(scope, names.path, text.release()) && put(scope, names.raw_path, raw.release()) &&
           put(scope, names.query_string, query.empty() ? Py_NewRef(empty) : bytes_of(query));
}

PyObject* extensions_of(const HttpConnection* connection) noexcept {
    Ref<> extensions = Ref<>::steal(PyDict_Copy(connection->server->extensions));
    if (!extensions || connection->tls == nullptr) return extensions.release();
    PyObject* key = connection->server->service->names.tls;
    return put(extensions.get(), key, PyDict_Copy(connection->tls)) ? extensions.release()
                                                                    : nullptr;
}

}  // namespace

PyObject* new_scope(HttpConnection* connection, const http1::Request& request) noexcept {
    HttpServer* server = connection->server;
    const AsgiNames& names = server->service->names;
    Ref<> scope = Ref<>::steal(PyDict_Copy(server->scope_template));
    if (!scope || !describe_connection(connection)) return nullptr;
    PyObject* dict = scope.get();
    if (request.minor == 0 && PyDict_SetItem(dict, names.http_version, names.version_1_0) < 0)
        return nullptr;
    bool done =
        put(dict, names.asgi, PyDict_Copy(server->asgi)) &&
        put(dict, names.extensions, extensions_of(connection)) &&
        put(dict, names.method, method_of(server, request.method)) &&
        put_path(server, dict, request.target) &&
        put(dict, names.headers, fields_of(server, request.fields)) &&
        PyDict_SetItem(dict, names.client, connection->client) == 0 &&
        PyDict_SetItem(dict, names.server, connection->local) == 0 &&
        PyDict_SetItem(dict, names.scheme, connection->is_tls ? names.https : names.http) == 0 &&
        (server->state == Py_None || put(dict, names.state, PyDict_Copy(server->state))) &&
        look_behind_proxies(server, dict, request.fields);
    return done ? scope.release() : nullptr;
}

}  // namespace penstock::py
