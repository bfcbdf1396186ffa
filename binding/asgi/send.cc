// send(message): acts when it is awaited, and waits while the client does not take what it is sent.
#include "asgi/exchange.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

struct Send : Coroutine {
    Exchange* exchange;
    PyObject* message;
};

Send* as_send(Coroutine* self) noexcept { return static_cast<Send*>(self); }

// ASGI, spec version 2.4: who sends to a client that has gone hears of it by an OSError.
bool check_client(Exchange* exchange) noexcept {
    if (!exchange->is_gone) return true;
    PyErr_SetString(PyExc_ConnectionResetError, "the client has disconnected");
    return false;
}

PySendResult wait_for_room(Send* self, PyObject** result) noexcept {
    HttpConnection* connection = self->exchange->connection;
    if (connection == nullptr || !connection->is_write_paused) return end_with_none(result);
    return wait_in(self->exchange, self, result);
}

PySendResult begin(Coroutine* self, PyObject** result) noexcept {
    Exchange* exchange = as_send(self)->exchange;
    if (!check_client(exchange)) return fail(result);
    Ref<> message = Ref<>::steal(std::exchange(as_send(self)->message, nullptr));
    if (!act_on_message(exchange, message.get())) return fail(result);
    return wait_for_room(as_send(self), result);
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    if (!check_client(as_send(self)->exchange)) return fail(result);
    return wait_for_room(as_send(self), result);
}

int visit_send(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(as_send(self)->exchange));
    Py_VISIT(as_send(self)->message);
    return 0;
}

void clear_send(Coroutine* self) noexcept {
    Py_CLEAR(as_send(self)->exchange);
    Py_CLEAR(as_send(self)->message);
}

constexpr CoroutineKind kSend = {.name = "send",
                                 .qualified_name = "HttpServer.send",
                                 .wait_kind = WaitKind::kStream,
                                 .begin = begin,
                                 .resume = resume,
                                 .visit = visit_send,
                                 .clear = clear_send,
                                 .withdraw = nullptr,
                                 .free = &State::free_sends};

}  // namespace

PyObject* call_send(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names) {
    PyObject* message = nullptr;
    static constexpr const char* kNames[] = {"message"};
    auto given = PyVectorcall_NARGS(count);
    if (given == 1 && names == nullptr) [[likely]]
        message = args[0];
    else if (!bind({"send", kNames, 1, 1}, args, given, names, {&message, 1}))
        return nullptr;
    Exchange* exchange = as_exchange(self);
    State* state = exchange->server->loop->state;
    auto* made = static_cast<Send*>(new_coroutine(state, state->send_message, &kSend));
    if (made == nullptr) return nullptr;
    made->exchange = as_exchange(Py_NewRef(self));
    made->message = Py_NewRef(message);
    PyObject_GC_Track(object(made));
    return object(made);
}

bool add_send_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.Send", sizeof(Send), state->send_message);
}

}  // namespace penstock::py
