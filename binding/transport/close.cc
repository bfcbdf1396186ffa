// How a transport ends: closed by its owner once the queue has drained, aborted, lost, or simply
// dropped. connection_lost() is called once in all but the last case.
#include <unistd.h>

#include <cerrno>

#include "py/types.h"
#include "transport/log.h"
#include "transport/network.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

constexpr unsigned kLostWritesUntilWarning = 5;  // asyncio's LOG_THRESHOLD_FOR_CONNLOST_WRITES

bool connection_lost_soon(Transport* transport, PyObject* exception) noexcept {
    ++transport->lost;
    Ref<> callback = Ref<>::steal(
        PyObject_GetAttr(object(transport), transport->loop->state->str__call_connection_lost));
    return callback && call_soon(transport, callback.get(), exception);
}

bool force_close(Transport* transport, PyObject* exception) noexcept {
    if (transport->lost > 0) return true;
    Ref<Transport> held = Ref<Transport>::borrow(transport);
    Channel& channel = transport->endpoint->channel();
    transport->is_closing = true;
    channel.stop_reading();
    channel.discard();  // may run foreign code, which may close us: then all is done
    bool done = transport->lost > 0 || connection_lost_soon(transport, exception);
    settle_hold(transport);
    return done;
}

// What a failing close or detach adds to what is pending already.
void merge_failure(PyObject*& pending) noexcept {
    if (!PyErr_Occurred()) return;
    if (pending == nullptr)
        pending = take_exception();
    else
        PyErr_Clear();
}

struct Belongings {
    Ref<> loop, sock, protocol, server;
    UniqueFd fd;  // where there was no object yet that would own it
};

// Who asks later gets what the socket was; not of a transport that dies.
void keep_extra(Transport* transport) noexcept {
    if (transport->extra != nullptr || PyObject_GC_IsFinalized(object(transport))) return;
    PyObject* pending = take_exception();
    if (!make_extra(transport)) PyErr_Clear();
    if (pending != nullptr) raise_exception(pending);
}

// The fd has no watcher any more, and the transport is over.
Belongings strip(Transport* transport) noexcept {
    Ref<Transport> held = Ref<Transport>::borrow(transport);
    keep_extra(transport);
    if (transport->lost == 0) transport->lost = 1;
    transport->is_closing = true;  // for whoever finds it yet, as a ResourceWarning's source
    Network::unlink(transport);
    transport->native = nullptr;
    Belongings had{Ref<>::steal(object(std::exchange(transport->loop, nullptr))),
                   Ref<>::steal(std::exchange(transport->sock, nullptr)),
                   Ref<>::steal(std::exchange(transport->protocol, nullptr)),
                   Ref<>::steal(std::exchange(transport->server, nullptr)),
                   UniqueFd(transport->owns_fd ? transport->fd : -1)};
    transport->owns_fd = false;
    // What is queued may run foreign code as it goes: it finds the transport over.
    if (Endpoint* endpoint = std::exchange(transport->endpoint, nullptr); endpoint != nullptr)
        endpoint->destroy();
    settle_hold(transport);
    return had;
}

// As strip(), and the fd is closed. What fails goes to `pending`.
void let_go(Transport* transport, PyObject*& pending) noexcept {
    Ref<Transport> held = Ref<Transport>::borrow(transport);
    State* state = transport->loop->state;
    Belongings had = strip(transport);
    if (had.sock) {
        Ref<> closed = Ref<>::steal(PyObject_CallMethodNoArgs(had.sock.get(), state->str_close));
        merge_failure(pending);
    } else if (::close(had.fd.release()) < 0 && errno != ECONNRESET) {  // as a socket object does
        PyErr_SetFromErrno(PyExc_OSError);
        merge_failure(pending);
    }
    if (!had.server) return;
    Ref<> detached = Ref<>::steal(
        PyObject_CallMethodOneArg(had.server.get(), state->str__detach, object(transport)));
    merge_failure(pending);
}

const char* type_name(TransportKind kind) noexcept {
    switch (kind) {
        case TransportKind::kSocket: return "SocketTransport";
        case TransportKind::kDatagram: return "DatagramTransport";
        case TransportKind::kReadPipe: return "ReadPipeTransport";
        default: return "WritePipeTransport";
    }
}

// The peer's doing, which asyncio does not report; of what a pipe is read for only EIO, by which
// a terminal's end shows.
bool is_no_news(Transport* transport, PyObject* exception) noexcept {
    if (!PyErr_GivenExceptionMatches(exception, PyExc_OSError)) return false;
    if (transport->kind != TransportKind::kReadPipe) return true;
    Ref<> number = Ref<>::steal(PyObject_GetAttrString(exception, "errno"));
    if (!number || !PyLong_Check(number.get())) {
        PyErr_Clear();
        return false;
    }
    return PyLong_AsLong(number.get()) == EIO;
}

}  // namespace

bool close_transport(Transport* transport) noexcept {
    if (transport->is_closing) return true;
    if (!settle_writes(transport)) return false;
    if (transport->is_closing) return true;  // the kernel has refused what was written
    transport->is_closing = true;
    Channel& channel = transport->endpoint->channel();
    // A pipe's reader may leave before the rest has left, and only watching it tells.
    if (!is_pipe(transport) || channel.queued() == 0) channel.stop_reading();
    bool done = channel.queued() > 0 || connection_lost_soon(transport, Py_None);
    settle_hold(transport);
    return done;
}

void disown(Transport* transport) noexcept { strip(transport); }

bool lose_connection(Transport* transport, PyObject* exception) noexcept {
    if (!is_open(transport)) return true;
    if (transport->lost == 0) transport->lost = 1;
    Ref<Transport> held = Ref<Transport>::borrow(transport);
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    if (transport->native != nullptr) {
        (void)transport->native->on_lost(exception);
    } else {
        Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(
            protocol.get(), transport->loop->state->str_connection_lost, exception));
    }
    PyObject* pending = take_exception();
    if (transport->kind == TransportKind::kSocket)
        fail_file_sender(static_cast<SocketTransport*>(transport), exception);
    // A second loss from within the first has let go already.
    if (is_open(transport)) let_go(transport, pending);
    if (pending == nullptr) return true;
    raise_exception(pending);
    return false;
}

bool fatal_error(Transport* transport, PyObject* exception, const char* message) noexcept {
    Ref<> error = Ref<>::steal(exception);
    Loop* loop = transport->loop;
    Ref<> held_loop = Ref<>::borrow(object(loop));
    if (loop == nullptr) return true;  // lost meanwhile: there is nobody to tell
    if (!is_no_news(transport, exception)) {
        report_exception(loop, message, Py_NewRef(exception),
                         {{"transport", object(transport)}, {"protocol", transport->protocol}});
    } else if (loop->is_debug) {
        Ref<> args = Ref<>::steal(Py_BuildValue("(sOs)", "%r: %s", object(transport), message));
        Ref<> keywords = Ref<>::steal(Py_BuildValue("{s:O}", "exc_info", exception));
        if (!args || !keywords || !log_call("debug", args.get(), keywords.get()))
            PyErr_WriteUnraisable(object(transport));
    }
    return force_close(transport, error.get());
}

void contain(Transport* transport, Loop* loop, const char* message) noexcept {
    if (take_failure(loop)) return;
    if (!fatal_error(transport, take_exception(), message))
        report_callback(loop, transport, "_read_ready");
}

void report_callback(Loop* loop, const Transport* transport, const char* callback) noexcept {
    if (take_failure(loop)) return;
    Ref<> message = Ref<>::steal(PyUnicode_FromFormat("Exception in callback %s.%s()",
                                                      type_name(transport->kind), callback));
    PyObject* exception = take_exception();
    const char* text = message ? PyUnicode_AsUTF8(message.get()) : callback;
    report_exception(loop, text, exception, {});
}

PyObject* warn_of_lost(unsigned& count, const char* warning) noexcept {
    if (count++ < kLostWritesUntilWarning) Py_RETURN_NONE;
    Ref<> args = Ref<>::steal(Py_BuildValue("(s)", warning));
    if (!log_call("warning", args.get(), nullptr)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* transport_close(PyObject* self, PyObject*) {
    return close_transport(as_any_transport(self)) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* transport_abort(PyObject* self, PyObject*) {
    return force_close(as_any_transport(self), Py_None) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* transport_force_close(PyObject* self, PyObject* exception) {
    return force_close(as_any_transport(self), exception) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* transport_call_connection_lost(PyObject* self, PyObject* exception) {
    return lose_connection(as_any_transport(self), exception) ? Py_NewRef(Py_None) : nullptr;
}

// Dropped without close(): nobody watches it any more, and nobody will close the socket.
void finalize_transport(PyObject* self) {
    Transport* transport = as_any_transport(self);
    if (!is_open(transport)) return;
    PyObject* pending = take_exception();
    if (PyErr_ResourceWarning(self, 1, "unclosed transport %R", self) < 0)
        PyErr_WriteUnraisable(self);
    PyObject* failed = nullptr;
    let_go(transport, failed);
    if (failed != nullptr) {
        raise_exception(failed);
        PyErr_WriteUnraisable(self);
    }
    if (pending != nullptr) raise_exception(pending);
}

}  // namespace penstock::py
