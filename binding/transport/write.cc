// What goes out. Bytes have left when write() returns, as far as the socket takes them; what is
// left is kept without a copy where nobody can change it, else copied.
#include <climits>
#include <new>
#include <optional>
#include <vector>

#include "loop/slow_call.h"
#include "py/types.h"
#include "transport/network.h"
#include "transport/socket_transport.h"
#include "transport/view.h"

namespace penstock::py {
namespace {

constexpr const char* kWrongData =
    kHas314 ? "data argument must be a bytes, bytearray, or memoryview object, not '%s'"
            : "data argument must be a bytes-like object, not '%s'";

const char* write_error(const SocketTransport* transport) noexcept {
    return is_pipe(transport) ? "Fatal write error on pipe transport"
                              : "Fatal write error on socket transport";
}

bool write_failed(SocketTransport* transport, int error) noexcept {
    if (is_pipe(transport)) ++transport->dropped;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return fatal_error(transport, take_exception(), write_error(transport));
}

PyObject* write_to_lost(SocketTransport* transport) noexcept {
    if (is_pipe(transport))
        return warn_of_lost(transport->dropped,
                            "pipe closed by peer or os.write(pipe, data) raised exception.");
    return warn_of_lost(transport->lost, "socket.send() raised exception.");
}

bool keep(SocketTransport* transport, const View& view, std::size_t sent) noexcept {
    Loop* loop = transport->loop;
    if (!check_open(loop)) return false;
    if (!remember_write_context(transport)) return false;
    std::optional<Chunk> rest = view.rest(sent);
    if (!rest) {
        PyErr_NoMemory();
        return false;
    }
    int error = stream_of(transport).enqueue(std::move(*rest));
    settle_hold(transport);
    return error == 0 || (write_failed(transport, -error), false);
}

// False where writing must not go on, with or without an exception set.
bool can_write(SocketTransport* transport, const char* function) noexcept {
    if (transport->has_eof)
        PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()", function);
    else if (transport->is_sending_file)
        PyErr_Format(PyExc_RuntimeError, "unable to %s; sendfile is in progress", function);
    else
        return true;
    return false;
}

// Sends all views, leaving behind what the socket doesn't take. False as above.
bool send_all(SocketTransport* transport, std::span<const View> views) noexcept {
    std::vector<iovec> pieces;
    try {
        pieces.reserve(views.size());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    for (const View& view : views)
        pieces.push_back({const_cast<std::byte*>(view.bytes().data()), view.bytes().size()});
    ssize_t result = stream_of(transport).send(std::span<const iovec>(pieces));
    if (result < 0) {
        write_failed(transport, static_cast<int>(-result));
        return false;
    }
    auto sent = static_cast<std::size_t>(result);
    for (const View& view : views) {
        std::size_t size = view.bytes().size();
        if (sent < size && !keep(transport, view, sent)) return false;
        sent -= std::min(sent, size);
    }
    return true;
}

// What was in the outbox has none until the kernel does not take it.
bool have_write_context(Transport* transport) noexcept {
    return (transport->seldom != nullptr && write_context(transport) != nullptr) ||
           set_write_context(transport, watching_context(transport));
}

}  // namespace

bool settle_writes(Transport* transport) noexcept {
    int error = transport->endpoint != nullptr ? transport->endpoint->channel().settle() : 0;
    return error == 0 || write_failed(static_cast<SocketTransport*>(transport), -error);
}

PyObject* transport_write(PyObject* self, PyObject* data) {
    SocketTransport* transport = as_transport(self);
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) [[unlikely]]
        return is_pipe(transport) ? PyErr_Format(PyExc_AssertionError, "%R", data)
                                  : PyErr_Format(PyExc_TypeError, kWrongData, type_name(data));
    if (!can_write(transport, "write")) return nullptr;
    if (PyObject_Size(data) == 0) Py_RETURN_NONE;
    if (PyErr_Occurred()) return nullptr;
    // What is written to a pipe after close() is dropped, to a socket it is not.
    if (transport->lost > 0 || (transport->is_closing && is_pipe(transport)))
        return write_to_lost(transport);
    View view;
    if (!view.open(data))
        return none_if(fatal_error(transport, take_exception(), write_error(transport)));
    ssize_t sent = stream_of(transport).send(view.bytes());
    if (sent == static_cast<ssize_t>(view.bytes().size())) [[likely]]
        Py_RETURN_NONE;
    if (sent < 0) return none_if(write_failed(transport, static_cast<int>(-sent)));
    if (!keep(transport, view, static_cast<std::size_t>(sent))) return none_if(!PyErr_Occurred());
    return none_if(maybe_pause_protocol(transport));
}

bool write_bytes(SocketTransport* transport, std::span<const std::byte> bytes) noexcept {
    if (transport->has_eof) return true;
    if (transport->lost > 0) {
        ++transport->lost;
        return true;
    }
    ssize_t sent = stream_of(transport).send(bytes);
    if (sent == static_cast<ssize_t>(bytes.size())) [[likely]]
        return true;
    if (sent < 0) return write_failed(transport, static_cast<int>(-sent));
    View view(bytes);
    if (!keep(transport, view, static_cast<std::size_t>(sent))) return !PyErr_Occurred();
    return maybe_pause_protocol(transport);
}

PyObject* transport_writelines(PyObject* self, PyObject* list) {
    SocketTransport* transport = as_transport(self);
    if (!can_write(transport, kHas312 ? "writelines" : "write")) return nullptr;
    if (kHas312) {  // whatever is false is nothing to write, None too
        int has_data = PyObject_IsTrue(list);
        if (has_data <= 0) return none_if(has_data == 0);
    }
    Views views;
    if (!views.open(list)) return nullptr;
    if (views.all().empty()) Py_RETURN_NONE;
    if (transport->lost > 0) return write_to_lost(transport);
    if (!send_all(transport, views.all())) return none_if(!PyErr_Occurred());
    return none_if(maybe_pause_protocol(transport));
}

PyObject* transport_write_eof(PyObject* self, PyObject*) {
    SocketTransport* transport = as_transport(self);
    if (transport->is_closing || transport->has_eof) Py_RETURN_NONE;
    if (!settle_writes(transport)) return nullptr;
    if (transport->is_closing) Py_RETURN_NONE;
    transport->has_eof = true;
    int error = stream_of(transport).shutdown_write();
    if (error == 0) Py_RETURN_NONE;
    errno = -error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

void Connection::on_written() noexcept {
    Ref<SocketTransport> transport = Ref<SocketTransport>::borrow(this->transport());
    Loop* loop = transport->loop;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport.get()), "_write_ready", transport->protocol);
    settle_hold(transport.get());
    if (!have_write_context(transport.get()))
        return report_callback(loop, transport.get(), "_write_ready");
    bool entered = run_in_context(loop, write_context(transport.get()), true, [&] {
        bool done = after_write(transport.get());
        if (!done) report_callback(loop, transport.get(), "_write_ready");
        wake_file_sender(transport.get());
    });
    if (!entered) report_callback(loop, transport.get(), "_write_ready");
}

void Connection::on_queued() noexcept {
    Ref<SocketTransport> transport = Ref<SocketTransport>::borrow(this->transport());
    Loop* loop = transport->loop;
    set_current_task(loop, nullptr);
    settle_hold(transport.get());
    PyObject* context = watching_context(transport.get());
    if (!set_write_context(transport.get(), context) || !maybe_pause_protocol(transport.get()))
        report_callback(loop, transport.get(), "write");
}

void Connection::on_write_error(int error) noexcept {
    Ref<SocketTransport> transport = Ref<SocketTransport>::borrow(this->transport());
    Loop* loop = transport->loop;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport.get()), "_write_ready", transport->protocol);
    settle_hold(transport.get());
    if (!have_write_context(transport.get()))
        return report_callback(loop, transport.get(), "_write_ready");
    bool entered = run_in_context(loop, write_context(transport.get()), true, [&] {
        if (!write_failed(transport.get(), error))
            report_callback(loop, transport.get(), "_write_ready");
    });
    if (!entered) report_callback(loop, transport.get(), "_write_ready");
}

}  // namespace penstock::py
