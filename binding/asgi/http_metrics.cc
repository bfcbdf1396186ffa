#include "asgi/http_metrics.h"

#include "py/ref.h"

namespace penstock::py {
namespace {

template <class Numbers, class Convert>
PyObject* list_of(const Numbers& numbers, Convert convert) noexcept {
    Ref<> list = Ref<>::steal(PyList_New(static_cast<Py_ssize_t>(numbers.size())));
    if (!list) return nullptr;
    Py_ssize_t place = 0;
    for (auto number : numbers) {
        PyObject* item = convert(number);
        if (item == nullptr) return nullptr;
        PyList_SET_ITEM(list.get(), place++, item);
    }
    return list.release();
}

PyObject* as_seconds(std::int64_t nanoseconds) noexcept {
    return PyFloat_FromDouble(static_cast<double>(nanoseconds) / 1e9);
}

PyObject* as_number(std::uint64_t number) noexcept { return PyLong_FromUnsignedLongLong(number); }

}  // namespace

PyObject* dict_of_metrics(const HttpMetrics& metrics) noexcept {
    // "N" takes each reference over, and where one is missing gives the others back.
    return Py_BuildValue(
        "{sNsNsNsNsNsNsNsNsNsNsN}", "accepted", as_number(metrics.accepted), "received_bytes",
        as_number(metrics.received), "sent_bytes", as_number(metrics.sent), "lost",
        as_number(metrics.lost), "seconds", as_seconds(static_cast<std::int64_t>(metrics.seconds)),
        "responses", list_of(metrics.responses, as_number), "bounds",
        list_of(HttpMetrics::kBounds, as_seconds), "took", list_of(metrics.took, as_number),
        "websockets_accepted", as_number(metrics.websockets), "messages_received",
        as_number(metrics.messages_received), "messages_sent", as_number(metrics.messages_sent));
}

}  // namespace penstock::py
