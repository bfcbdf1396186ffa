// What an application receives of a websocket.
#include "asgi/exchange.h"
#include "asgi/websocket.h"
#include "py/ref.h"
#include "sync/coroutine.h"

namespace penstock::py {

MessageQueue::~MessageQueue() {
    while (!empty()) Py_DECREF(take());
}

bool MessageQueue::add(PyObject* message, std::size_t bytes) noexcept {
    try {
        all_.push_back({message, bytes});
    } catch (const std::bad_alloc&) {
        Py_DECREF(message);
        PyErr_NoMemory();
        return false;
    }
    bytes_ += bytes;
    return true;
}

PyObject* MessageQueue::take() noexcept {
    Entry entry = all_[first_++];
    bytes_ -= entry.bytes;
    constexpr std::size_t kMostTaken = 64;
    if (empty()) {
        all_.clear();
        first_ = 0;
    } else if (first_ == kMostTaken) {
        all_.erase(all_.begin(), all_.begin() + kMostTaken);
        first_ = 0;
    }
    return entry.message;
}

namespace {

// A new dict of two or three entries; nullptr with an exception set.
PyObject* message_of(const AsgiNames& names, PyObject* type, PyObject* key,
                     PyObject* value) noexcept {
    Ref<> message = Ref<>::steal(PyDict_New());
    if (!message || PyDict_SetItem(message.get(), names.type, type) < 0) return nullptr;
    if (key != nullptr && PyDict_SetItem(message.get(), key, value) < 0) return nullptr;
    return message.release();
}

PySendResult end_with_message(PyObject* message, PyObject** result) noexcept {
    return message != nullptr ? end_with(message, result) : fail(result);
}

PySendResult end_with_disconnect(const WebSocket& websocket, const AsgiNames& names,
                                 PyObject** result) noexcept {
    Ref<> code = Ref<>::steal(PyLong_FromLong(websocket.code));
    Ref<> message = Ref<>::steal(
        code ? message_of(names, names.websocket_disconnect, names.code, code.get()) : nullptr);
    PyObject* reason = websocket.reason != nullptr ? websocket.reason : names.no_text;
    if (!message || PyDict_SetItem(message.get(), names.reason, reason) < 0) return fail(result);
    return end_with(message.release(), result);
}

}  // namespace

PySendResult receive_from_websocket(Exchange* exchange, Coroutine* self,
                                    PyObject** result) noexcept {
    WebSocket& websocket = *exchange->websocket;
    const AsgiNames& names = exchange->server->service->names;
    if (!std::exchange(websocket.is_connect_told, true))
        return end_with_message(message_of(names, names.websocket_connect, nullptr, nullptr),
                                result);
    if (!websocket.queue.empty()) {
        Ref<> payload = Ref<>::steal(websocket.queue.take());
        if (websocket.reader->has_unused()) read_on(exchange);
        PyObject* key = PyUnicode_Check(payload.get()) ? names.text : names.bytes;
        return end_with_message(message_of(names, names.websocket_receive, key, payload.get()),
                                result);
    }
    bool may_come =
        websocket.phase == WebSocketPhase::kConnecting || websocket.phase == WebSocketPhase::kOpen;
    if (!may_come || exchange->connection == nullptr || exchange->is_gone)
        return has_run_long(exchange) ? give_way(self, result)
                                      : end_with_disconnect(websocket, names, result);
    return wait_in(exchange, self, result);
}

}  // namespace penstock::py
