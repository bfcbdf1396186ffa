// receive(): what has come of the request's body, and that the client has gone.
#include "asgi/exchange.h"
#include "asgi/text.h"
#include "asgi/websocket.h"
#include "py/types.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

struct Receiver {
    PyObject_HEAD vectorcallfunc vectorcall;
    Exchange* exchange;
};

struct Receive : Coroutine {
    Exchange* exchange;
};

Receiver* as_receiver(PyObject* object) noexcept { return reinterpret_cast<Receiver*>(object); }
Receive* as_receive(Coroutine* self) noexcept { return static_cast<Receive*>(self); }

// ---- the messages ----------------------------------------------------------------------------

// All of the body that has come, as one bytes object.
Ref<> take_body(Exchange* exchange) noexcept {
    Ref<> first = Ref<>::steal(std::exchange(exchange->body, nullptr));
    if (exchange->more_body == nullptr) return first;
    std::unique_ptr<std::string> more(std::exchange(exchange->more_body, nullptr));
    std::string_view begin = first ? view_of_bytes(first.get()) : std::string_view();
    Ref<> whole = Ref<>::steal(
        PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(begin.size() + more->size())));
    if (!whole) return {};
    char* end = std::copy(begin.begin(), begin.end(), PyBytes_AS_STRING(whole.get()));
    std::copy(more->begin(), more->end(), end);
    return whole;
}

PySendResult end_with_request(Exchange* exchange, PyObject** result) noexcept {
    const AsgiNames& names = exchange->server->service->names;
    bool has_body = exchange->body != nullptr;
    Ref<> message = Ref<>::steal(PyDict_Copy(names.request_message));
    if (!message) return fail(result);
    if (has_body) {
        Ref<> body = take_body(exchange);
        if (!body || PyDict_SetItem(message.get(), names.body, body.get()) < 0) return fail(result);
    }
    if (exchange->is_body_complete)
        exchange->is_body_given = true;
    else if (PyDict_SetItem(message.get(), names.more_body, Py_True) < 0)
        return fail(result);
    if (has_body && exchange->connection != nullptr && !exchange->is_body_complete &&
        !resume_body(exchange->connection))
        return fail(result);
    return end_with(message.release(), result);
}

// The client waits for a word before it sends its body: RFC 9110, 10.1.1.
bool send_continue(Exchange* exchange) noexcept {
    if (!exchange->expects_continue) return true;
    exchange->expects_continue = false;
    HttpConnection* connection = exchange->connection;
    expect_body(connection);
    if (exchange->phase != ResponsePhase::kNone || exchange->is_acting) return true;
    std::string* output = output_of(connection);
    if (output == nullptr) return false;
    try {
        output->append("HTTP/1.1 100 Continue\r\n\r\n");
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    depart_soon(connection);
    return true;
}

PySendResult go_on(Receive* self, PyObject** result) noexcept {
    Exchange* exchange = self->exchange;
    if (exchange->websocket != nullptr) return receive_from_websocket(exchange, self, result);
    bool has_news =
        exchange->body != nullptr || (exchange->is_body_complete && !exchange->is_body_given);
    bool is_over = exchange->connection == nullptr || exchange->is_gone ||
                   exchange->phase == ResponsePhase::kDone ||
                   (sends_no_more(exchange->connection) && exchange->is_body_given);
    if (has_news && exchange->phase != ResponsePhase::kDone && !exchange->is_gone)
        return end_with_request(exchange, result);
    if (is_over) {
        if (has_run_long(exchange)) return give_way(self, result);  // some ask again, and again
        PyObject* message = PyDict_Copy(exchange->server->service->names.disconnect_message);
        return message != nullptr ? end_with(message, result) : fail(result);
    }
    if (!send_continue(exchange)) return fail(result);
    return wait_in(exchange, self, result);
}

// ---- the coroutine ---------------------------------------------------------------------------

PySendResult begin(Coroutine* self, PyObject** result) noexcept {
    return go_on(as_receive(self), result);
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    return go_on(as_receive(self), result);
}

int visit_receive(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(as_receive(self)->exchange));
    return 0;
}

void clear_receive(Coroutine* self) noexcept { Py_CLEAR(as_receive(self)->exchange); }

constexpr CoroutineKind kReceive = {.name = "receive",
                                    .qualified_name = "HttpServer.receive",
                                    .wait_kind = WaitKind::kStream,
                                    .begin = begin,
                                    .resume = resume,
                                    .visit = visit_receive,
                                    .clear = clear_receive,
                                    .withdraw = nullptr,
                                    .free = &State::free_receives};

// ---- the callable ----------------------------------------------------------------------------

PyObject* call_receive(PyObject* self, PyObject* const*, std::size_t count, PyObject* names) {
    if (PyVectorcall_NARGS(count) > 0 || keyword_count(names) > 0) {
        PyErr_SetString(PyExc_TypeError, "receive() takes no arguments");
        return nullptr;
    }
    Exchange* exchange = as_receiver(self)->exchange;
    State* state = exchange->server->loop->state;
    auto* made = static_cast<Receive*>(new_coroutine(state, state->receive, &kReceive));
    if (made == nullptr) return nullptr;
    made->exchange = as_exchange(Py_NewRef(object(exchange)));
    PyObject_GC_Track(object(made));
    return object(made);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(as_receiver(self)->exchange));
    return 0;
}

// The exchange breaks the cycles, and whoever calls later still finds it.
void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    Py_CLEAR(as_receiver(self)->exchange);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Receiver, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("An ASGI application's `receive`.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.Receiver", sizeof(Receiver), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                        Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* new_receiver(Exchange* exchange) noexcept {
    PyTypeObject* type = exchange->server->loop->state->receiver;
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    as_receiver(made)->vectorcall = call_receive;
    as_receiver(made)->exchange = as_exchange(Py_NewRef(object(exchange)));
    return made;
}

bool add_receiver_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->receiver) &&
           add_coroutine_type(module, "penstock._core.Receive", sizeof(Receive), state->receive);
}

}  // namespace penstock::py
