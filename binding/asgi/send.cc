// send(message): acts when it is awaited, or once the client has taken what it was sent before, and
// waits again while it does not take this: so what is queued does not grow with those who send.
#include <algorithm>

#include "asgi/exchange.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

struct Send : Coroutine {
    Exchange* exchange;
    PyObject* message;     // until it is acted on
    PyObject* file;        // that is being sent, or nullptr
    std::uint64_t offset;  // where in it the piece begins that is being sent
    std::uint64_t count;   // bytes of that; 0 between two
    std::uint64_t behind;  // and of what is to follow
    bool is_last;          // the body ends with the file
};

// A message is any dict, of objects that may do anything as they are looked at: also send.
class Acting {
public:
    explicit Acting(Exchange* exchange) noexcept : exchange_(exchange) {
        exchange->is_acting = true;
    }
    Acting(const Acting&) = delete;
    Acting& operator=(const Acting&) = delete;
    ~Acting() { exchange_->is_acting = false; }

private:
    Exchange* exchange_;
};

Send* as_send(Coroutine* self) noexcept { return static_cast<Send*>(self); }

// ASGI, spec version 2.4: who sends to a client that has gone hears of it by an OSError.
bool check_client(Exchange* exchange) noexcept {
    if (!exchange->is_gone && !exchange->is_acting) return true;
    if (exchange->is_gone)
        PyErr_SetString(PyExc_ConnectionResetError, "the client has disconnected");
    else
        PyErr_SetString(PyExc_RuntimeError, "send() within send()");
    return false;
}

PySendResult wait_for_room(Send* self, PyObject** result) noexcept {
    HttpConnection* connection = self->exchange->connection;
    if (connection == nullptr) return end_with_none(result);
    if (connection->is_write_paused) return wait_in(self->exchange, self, result);
    bool streams = self->exchange->phase != ResponsePhase::kStarted;
    if (streams && has_run_long(self->exchange)) return give_way(self, result);
    return end_with_none(result);
}

// What a client has to take, where nobody else tells that it does, before the next piece is sent.
constexpr std::uint64_t kFilePiece = std::uint64_t{64} * 1024;

// A transport that has failed, as it was given the head, tells of it only in the next turn; until
// then to send a file would be the application's fault.
bool check_transport(Exchange* exchange) noexcept {
    Ref<> transport = Ref<>::borrow(exchange->connection->transport);
    Ref<> told = Ref<>::steal(PyObject_CallMethod(transport.get(), "is_closing", nullptr));
    int is_closing = told ? PyObject_IsTrue(told.get()) : -1;
    if (is_closing > 0) lose_client(exchange);
    return is_closing >= 0 && check_client(exchange);
}

// loop.sendfile(): the kernel copies it to the socket; over TLS it is read here.
PySendResult send_file(Send* self, std::uint64_t offset, std::uint64_t count,
                       PyObject** result) noexcept {
    if (!check_transport(self->exchange)) return fail(result);
    HttpConnection* connection = self->exchange->connection;
    Ref<> transport = Ref<>::borrow(connection->transport);
    Loop* loop = self->exchange->server->loop;
    self->offset = offset;
    self->count = knows_uptake(connection) ? count : std::min(count, kFilePiece);
    self->behind = count - self->count;
    self->exchange->is_sending_file = true;
    Ref<> sending = Ref<>::steal(PyObject_CallMethod(
        object(loop), "sendfile", "OOKK", transport.get(), self->file, offset, self->count));
    return sending ? delegate_to_awaitable(self, sending.get(), result) : fail(result);
}

// `sent` is how much of the piece was.
PySendResult file_sent(Send* self, PyObject* sent, PyObject** result) noexcept {
    bool is_whole = PyLong_AsUnsignedLongLong(sent) == self->count;
    HttpConnection* connection = self->exchange->connection;
    if (is_whole && self->behind > 0 && connection != nullptr) {
        connection->given += self->count;
        self->offset += self->count;
        self->count = 0;
        self->exchange->is_sending_file = true;
        return give_way(self, result);  // others want to be served, and resume() goes on
    }
    Ref<> file = Ref<>::steal(std::exchange(self->file, nullptr));
    if (!is_whole) {
        // What followed would be taken for the rest.
        if (self->exchange->connection != nullptr) abort_connection(self->exchange->connection);
        if (PyErr_Occurred() == nullptr)
            PyErr_SetString(PyExc_RuntimeError, "the file became shorter while it was sent");
        return fail(result);
    }
    if (!end_file(self->exchange, true, self->is_last)) return fail(result);
    return wait_for_room(self, result);
}

// Of a HEAD request, or of no length.
PySendResult file_left_out(Send* self, PyObject** result) noexcept {
    Py_CLEAR(self->file);
    if (!end_file(self->exchange, false, self->is_last)) return fail(result);
    return wait_for_room(self, result);
}

PySendResult begin_sending_file(Send* self, PyObject* message, PyObject** result) noexcept {
    Exchange* exchange = self->exchange;
    Ref<> opened;
    {
        Acting acting(exchange);
        opened = Ref<>::steal(PyObject_CallOneArg(exchange->server->open_file, message));
    }
    PyObject* file;
    unsigned long long offset, count;
    int more;
    if (!opened || !PyArg_ParseTuple(opened.get(), "OKKp", &file, &offset, &count, &more))
        return fail(result);
    self->file = Py_NewRef(file);
    self->is_last = more == 0;
    bool is_sent = false;
    {
        Acting acting(exchange);
        if (!begin_file(exchange, count, self->is_last, is_sent)) return fail(result);
    }
    if (!check_client(exchange)) return fail(result);
    return is_sent ? send_file(self, offset, count, result) : file_left_out(self, result);
}

PySendResult act(Coroutine* self, PyObject** result) noexcept {
    Exchange* exchange = as_send(self)->exchange;
    if (!check_client(exchange)) return fail(result);
    if (exchange->connection != nullptr && exchange->connection->is_write_paused)
        return wait_in(exchange, self, result);
    Ref<> message = Ref<>::steal(std::exchange(as_send(self)->message, nullptr));
    bool is_file, done = true;
    {
        Acting acting(exchange);
        is_file = has_file(exchange, message.get());
        if (!is_file) done = act_on_message(exchange, message.get());
    }
    if (!done) return fail(result);
    if (is_file) return begin_sending_file(as_send(self), message.get(), result);
    return wait_for_room(as_send(self), result);
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    Send* send = as_send(self);
    if (send->file != nullptr) send->exchange->is_sending_file = false;
    if (thrown != nullptr) {
        // A file that has broken off leaves a body without an end.
        if (send->file != nullptr && send->exchange->connection != nullptr)
            abort_connection(send->exchange->connection);
        return end_with_exception(thrown, result);
    }
    Ref<> given = Ref<>::steal(value);
    if (send->message != nullptr) return act(self, result);
    if (send->file != nullptr && send->count > 0) return file_sent(send, value, result);
    if (!check_client(send->exchange)) return fail(result);
    if (send->file != nullptr) return send_file(send, send->offset, send->behind, result);
    return wait_for_room(send, result);
}

int visit_send(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(object(as_send(self)->exchange));
    Py_VISIT(as_send(self)->message);
    Py_VISIT(as_send(self)->file);
    return 0;
}

void clear_send(Coroutine* self) noexcept {
    Py_CLEAR(as_send(self)->exchange);
    Py_CLEAR(as_send(self)->message);
    Py_CLEAR(as_send(self)->file);
}

constexpr CoroutineKind kSend = {.name = "send",
                                 .qualified_name = "HttpServer.send",
                                 .wait_kind = WaitKind::kStream,
                                 .begin = act,
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
    made->file = nullptr;
    PyObject_GC_Track(object(made));
    return object(made);
}

bool add_send_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.Send", sizeof(Send), state->send_message);
}

}  // namespace penstock::py
