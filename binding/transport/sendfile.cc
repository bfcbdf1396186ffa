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

}  // namespace

PyObject* transport_begin_sendfile(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    if (transport->is_sending_file)
        return PyErr_Format(PyExc_RuntimeError, "unable to sendfile; sendfile is in progress");
    transport->is_sending_file = true;
    Py_RETURN_NONE;
}

PyObject* transport_end_sendfile(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    transport->is_sending_file = false;
    Ref<> drained = Ref<>::steal(std::exchange(transport->drained, nullptr));
    if (transport->connection == nullptr || transport->connection->stream.queued() > 0)
        Py_RETURN_NONE;
    transport->connection->stream.discard();  // of a wait that was cancelled
    settle_hold(transport);
    Py_RETURN_NONE;
}

PyObject* transport_wait_writable(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    if (transport->is_closing) return refuse_closed();
    Loop* loop = transport->loop;
    if (!check_open(loop)) return nullptr;
    PyObject* context = watching_context(transport);
    if (context == nullptr) return nullptr;
    Py_XSETREF(transport->write_context, context);
    Ref<> future = Ref<>::steal(loop_create_future(object(loop), nullptr));
    if (!future) return nullptr;
    // Again: what goes as those are made may end the transport.
    if (transport->connection == nullptr) return refuse_closed();
    int error = transport->connection->stream.wait_writable();
    settle_hold(transport);
    if (error != 0) return raise_watch_error(loop, error);
    Py_XSETREF(transport->drained, Py_NewRef(future.get()));
    return future.release();
}

void wake_file_sender(SocketTransport* transport) noexcept {
    if (transport->drained == nullptr || transport->connection == nullptr ||
        transport->connection->stream.queued() > 0)
        return;
    Ref<> drained = Ref<>::steal(std::exchange(transport->drained, nullptr));
    complete_with_none(transport->loop, drained.get());
}

void fail_file_sender(SocketTransport* transport, PyObject* exception) noexcept {
    Ref<> drained = Ref<>::steal(std::exchange(transport->drained, nullptr));
    if (!drained || transport->loop == nullptr) return;
    if (exception == Py_None) refuse_closed();
    PyObject* error = exception == Py_None ? take_exception() : Py_NewRef(exception);
    fail_with(transport->loop, drained.get(), error);
}

}  // namespace penstock::py
