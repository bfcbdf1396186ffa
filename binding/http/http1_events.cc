#include "http/http1_events.h"

#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "http1/request_parser.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

using http1::Event;
using http1::Field;
using http1::Limits;
using http1::Request;
using http1::RequestParser;

// False with an exception set. Names that there are not are a KeyError: a test that bounds nothing
// would pass.
bool read_limits(PyObject* given, Limits& limits) noexcept {
    const std::pair<std::string_view, std::size_t*> known[] = {
        {"target_bytes", &limits.target_bytes},
        {"head_bytes", &limits.head_bytes},
        {"fields", &limits.fields},
        {"body_bytes", &limits.body_bytes},
        {"chunk_extension_bytes", &limits.chunk_extension_bytes},
        {"free_chunks", &limits.free_chunks},
        {"bytes_a_chunk", &limits.bytes_a_chunk},
        {"trailer_bytes", &limits.trailer_bytes}};
    PyObject *name, *value;
    for (Py_ssize_t at = 0; PyDict_Next(given, &at, &name, &value) != 0;) {
        const char* text = PyUnicode_AsUTF8(name);
        if (text == nullptr) return false;
        std::size_t number = PyLong_AsSize_t(value);
        if (number == static_cast<std::size_t>(-1) && PyErr_Occurred() != nullptr) return false;
        bool is_known = false;
        for (auto [each, limit] : known) {
            if (each != text) continue;
            *limit = number;
            is_known = true;
        }
        if (!is_known) {
            PyErr_SetObject(PyExc_KeyError, name);
            return false;
        }
    }
    return true;
}

Py_ssize_t size_of(std::string_view text) noexcept { return static_cast<Py_ssize_t>(text.size()); }

PyObject* list_of(std::span<const Field> fields) noexcept {
    Ref<> list = Ref<>::steal(PyList_New(0));
    if (!list) return nullptr;
    for (const Field& field : fields) {
        Ref<> item = Ref<>::steal(Py_BuildValue("(y#y#)", field.name.data(), size_of(field.name),
                                                field.value.data(), size_of(field.value)));
        if (!item || PyList_Append(list.get(), item.get()) != 0) return nullptr;
    }
    return list.release();
}

PyObject* tuple_of_head(const Request& request) noexcept {
    constexpr const char* kFramings[] = {"none", "length", "chunked"};
    Ref<> fields = Ref<>::steal(list_of(request.fields));
    if (!fields) return nullptr;
    const std::string_view& upgrade = request.upgrade;
    return Py_BuildValue("(sy#y#iOsKNNy#)", "head", request.method.data(), size_of(request.method),
                         request.target.data(), size_of(request.target), request.minor,
                         fields.get(), kFramings[static_cast<int>(request.framing)],
                         static_cast<unsigned long long>(request.length),
                         PyBool_FromLong(request.keeps_alive),
                         PyBool_FromLong(request.expects_continue),
                         upgrade.empty() ? "" : upgrade.data(), size_of(upgrade));
}

PyObject* tuple_of(Event event, const RequestParser& parser) noexcept {
    switch (event) {
        case Event::kHead: return tuple_of_head(parser.request());
        case Event::kData:
            return Py_BuildValue("(sy#)", "data", parser.data().data(), size_of(parser.data()));
        case Event::kTrailers: return Py_BuildValue("(sN)", "trailers", list_of(parser.trailers()));
        case Event::kEnd: return Py_BuildValue("(s)", "end");
        default:
            return Py_BuildValue("(sis)", "refused", parser.refusal().status,
                                 parser.refusal().reason);
    }
}

// False with an exception set, or once the parser has refused.
bool append_events(PyObject* events, RequestParser& parser) {
    for (;;) {
        Event event = parser.next();
        if (event == Event::kNeedMore) return true;
        Ref<> tuple = Ref<>::steal(tuple_of(event, parser));
        if (!tuple || PyList_Append(events, tuple.get()) != 0) return false;
        if (event == Event::kRefused) return false;
    }
}

}  // namespace

PyObject* http1_events(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count < 1 || count > 2 || !PyList_Check(args[0]) ||
        !(count == 1 || args[1] == Py_None || PyDict_Check(args[1]))) {
        PyErr_SetString(PyExc_TypeError,
                        "_http1_events() takes a list of bytes, and a dict or None");
        return nullptr;
    }
    Limits limits;
    if (count == 2 && args[1] != Py_None && !read_limits(args[1], limits)) return nullptr;
    Ref<> events = Ref<>::steal(PyList_New(0));
    if (!events) return nullptr;
    try {
        RequestParser parser(limits);
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[0]); ++i) {
            char* bytes;
            Py_ssize_t size;
            if (PyBytes_AsStringAndSize(PyList_GET_ITEM(args[0], i), &bytes, &size) != 0)
                return nullptr;
            parser.feed(std::as_bytes(std::span(bytes, static_cast<std::size_t>(size))));
            if (!append_events(events.get(), parser)) break;
        }
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return PyErr_Occurred() == nullptr ? events.release() : nullptr;
}

}  // namespace penstock::py
