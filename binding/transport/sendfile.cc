// loop.sendfile() over a transport. While a file is sent nobody else may write, so that the queue
// stays empty; the sender waits for the socket with a future of the transport's, which a lost
// connection ends.
#include "futures/future.h"
#include "py/types.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

PyObject* refuse_closed() noexcept {
    PyErr_SetString(PyExc_ConnectionError, "Connection is closed by peer");
    return nullptr;
}

Ref<> take_drained(SocketTransport* transport) noexcept {
    if (transport->seldom == nullptr) return {};
    return Ref<>::steal(std::exchange(transport->seldom->drained, nullptr));
}

}  // namespace

PyObject* transport_begin_sendfile(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    if (transport->is_sending_file)
        return PyErr_Format(PyExc_RuntimeError, "unable to sendfile; sendfile is in progress");
    if (!settle_writes(transport)) return nullptr;
    transport->is_sending_file = true;
    Py_RETURN_NONE;
}

PyObject* transport_end_sendfile(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    transport->is_sending_file = false;
    Ref<> drained = take_drained(transport);
    if (transport->endpoint == nullptr || stream_of(transport).queued() > 0) Py_RETURN_NONE;
    stream_of(transport).discard();  // of a wait that was cancelled
    settle_hold(transport);
    Py_RETURN_NONE;
}

PyObject* transport_wait_writable(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    if (transport->is_closing) return refuse_closed();
    Loop* loop = transport->loop;
    if (!check_open(loop)) return nullptr;
    if (!set_write_context(transport, watching_context(transport))) return nullptr;
    Ref<> future = Ref<>::steal(loop_create_future(object(loop), nullptr));
    if (!future) return nullptr;
    // Again: what goes as those are made may end the transport.
    if (transport->endpoint == nullptr) return refuse_closed();
    int error = stream_of(transport).wait_writable();
    settle_hold(transport);
    if (error != 0) return raise_watch_error(loop, error);
    Py_XSETREF(transport->seldom->drained, Py_NewRef(future.get()));
    return future.release();
}

void wake_file_sender(SocketTransport* transport) noexcept {
    if (transport->seldom == nullptr || transport->endpoint == nullptr ||
        stream_of(transport).queued() > 0)
        return;
    Ref<> drained = take_drained(transport);
    if (drained) complete_with_none(transport->loop, drained.get());
}

void fail_file_sender(SocketTransport* transport, PyObject* exception) noexcept {
    Ref<> drained = take_drained(transport);
    if (!drained || transport->loop == nullptr) return;
    if (exception == Py_None) refuse_closed();
    PyObject* error = exception == Py_None ? take_exception() : Py_NewRef(exception);
    fail_with(transport->loop, drained.get(), error);
}

}  // namespace penstock::py
