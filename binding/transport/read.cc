// What comes in. A connection is read once a turn.
//
// A small read goes through memory of the loop's and is copied into a bytes object of its size.
// A connection that brings much is read straight into a bytes object, which serves again once
// nobody keeps anything of it.
#include <algorithm>

#include "net/socket.h"
#include "transport/log.h"
#include "transport/network.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

constexpr std::size_t kLargeRead = std::size_t{16} * 1024;
constexpr std::size_t kPage = 4096;

bool is_transient(ssize_t received) noexcept { return socket::would_block(received); }

// Fatal to a socket's transport. A pipe's goes on reading, as asyncio's does.
void protocol_failed(SocketTransport* transport, Loop* loop, const char* message) noexcept {
    if (is_pipe(transport)) return report_callback(loop, transport, "_read_ready");
    contain(transport, loop, message);
}

const char* read_error(const SocketTransport* transport) noexcept {
    return is_pipe(transport) ? "Fatal read error on pipe transport"
                              : "Fatal read error on socket transport";
}

void call_protocol(SocketTransport* transport, PyObject* name, PyObject* argument,
                   const char* message) noexcept {
    Loop* loop = transport->loop;
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    bool entered = run_in_context(loop, transport->read_context, true, [&] {
        PyObject* args[] = {protocol.get(), argument};
        PyObject* result =
            PyObject_VectorcallMethod(name, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
        if (result != nullptr) [[likely]]
            Py_DECREF(result);
        else
            protocol_failed(transport, loop, message);
    });
    if (!entered) protocol_failed(transport, loop, message);
}

// The rest in the context of reading; errors of it are contained.
template <class Body>
void in_read_context(SocketTransport* transport, Body body) noexcept {
    Loop* loop = transport->loop;
    if (!run_in_context(loop, transport->read_context, true, body))
        report_callback(loop, transport, "_read_ready");
}

void read_failed(SocketTransport* transport, int error) noexcept {
    in_read_context(transport, [&] {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        contain(transport, transport->loop, read_error(transport));
    });
}

int ask_about_eof(SocketTransport* transport) noexcept {
    if (transport->native != nullptr) return transport->native->on_eof();
    Ref<> answer = Ref<>::steal(
        PyObject_CallMethodNoArgs(transport->protocol, transport->loop->state->str_eof_received));
    return answer ? PyObject_IsTrue(answer.get()) : -1;
}

void received_eof(SocketTransport* transport) noexcept {
    in_read_context(transport, [&] {
        if (is_pipe(transport)) return pipe_ended(transport);
        Loop* loop = transport->loop;
        if (loop->is_debug) log_debug("%r received EOF", object(transport));
        Ref<> protocol = Ref<>::borrow(transport->protocol);
        int keep_open = ask_about_eof(transport);
        if (keep_open < 0)
            return contain(transport, loop, "Fatal error: protocol.eof_received() call failed.");
        // Where the transport was closed meanwhile, either is without effect.
        if (keep_open && transport->endpoint != nullptr) {
            stream_of(transport).stop_reading();
            settle_hold(transport);
        } else if (!keep_open && !close_transport(transport)) {
            report_callback(loop, transport, "_read_ready");
        }
    });
}

void deliver(SocketTransport* transport, PyObject* data) noexcept {
    if (transport->native != nullptr)
        return in_read_context(transport, [&] {
            Loop* loop = transport->loop;
            Ref<> protocol = Ref<>::borrow(transport->protocol);
            if (!transport->native->on_object(data))
                contain(transport, loop, "Fatal error: protocol.data_received() call failed.");
        });
    call_protocol(transport, transport->loop->state->str_data_received, data,
                  "Fatal error: protocol.data_received() call failed.");
}

void out_of_memory(SocketTransport* transport) noexcept {
    in_read_context(transport, [&] { contain(transport, transport->loop, read_error(transport)); });
}

void read_small(SocketTransport* transport) noexcept {
    Network& network = *transport->loop->network;
    std::span<std::byte> memory = network.scratch().first(most_a_read(transport));
    ssize_t received = stream_of(transport).receive(memory);
    if (received > 0) [[likely]] {
        auto count = static_cast<std::size_t>(received);
        transport->read_size = next_read_size(count, memory.size());
        Ref<> data = Ref<>::steal(
            PyBytes_FromStringAndSize(reinterpret_cast<const char*>(memory.data()), received));
        return data ? deliver(transport, data.get()) : out_of_memory(transport);
    }
    if (received == 0) return received_eof(transport);
    if (!is_transient(received)) read_failed(transport, static_cast<int>(-received));
}

void read_large(SocketTransport* transport) noexcept {
    Loop* loop = transport->loop;
    std::size_t most = most_a_read(transport);
    Ref<> block =
        Ref<>::steal(loop->network->take_block(std::min<std::size_t>(transport->read_size, most)));
    if (!block) return out_of_memory(transport);
    std::size_t capacity = bytes_memory(block.get()).size();
    std::span<std::byte> memory = bytes_memory(block.get()).first(std::min(capacity, most));
    ssize_t received = stream_of(transport).receive(memory);
    if (received == 0) return received_eof(transport);
    if (received < 0) {
        if (!is_transient(received)) read_failed(transport, static_cast<int>(-received));
        return;
    }
    auto count = static_cast<std::size_t>(received);
    loop->reactor->received(count);
    transport->read_size = next_read_size(count, memory.size());
    Ref<> data = Ref<>::steal(fitted_block(std::move(block), count));
    return data ? deliver(transport, data.get()) : out_of_memory(transport);
}

// A native protocol looks at the bytes where they are.
void read_natively(SocketTransport* transport) noexcept {
    if (transport->native->puts_off_reading()) return;
    std::span<std::byte> memory = transport->loop->network->scratch().first(most_a_read(transport));
    ssize_t received = socket::recv(transport->fd, memory);
    if (received == 0) return received_eof(transport);
    if (received < 0) {
        if (!is_transient(received)) read_failed(transport, static_cast<int>(-received));
        return;
    }
    in_read_context(transport, [&] {
        Loop* loop = transport->loop;
        Ref<> protocol = Ref<>::borrow(transport->protocol);
        if (!transport->native->on_bytes(memory.first(static_cast<std::size_t>(received))))
            contain(transport, loop, "Fatal error: protocol.buffer_updated() call failed.");
    });
}

// The protocol's own memory: get_buffer() and buffer_updated().
void read_into_buffer(SocketTransport* transport) noexcept {
    in_read_context(transport, [&] {
        Loop* loop = transport->loop;
        State* state = loop->state;
        Ref<> protocol = Ref<>::borrow(transport->protocol);
        Ref<> size = Ref<>::steal(PyLong_FromLong(-1));
        Ref<> buffer = Ref<>::steal(
            size ? PyObject_CallMethodOneArg(protocol.get(), state->str_get_buffer, size.get())
                 : nullptr);
        Py_ssize_t length = buffer ? PyObject_Size(buffer.get()) : -1;
        if (length == 0)
            PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
        if (length <= 0)
            return contain(transport, loop, "Fatal error: protocol.get_buffer() call failed.");
        if (transport->lost > 0) return;
        Py_buffer view;
        if (PyObject_GetBuffer(buffer.get(), &view, PyBUF_WRITABLE) < 0)
            return contain(transport, loop, "Fatal read error on socket transport");
        ssize_t received = stream_of(transport).receive(
            {static_cast<std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
        PyBuffer_Release(&view);
        if (received == 0) return received_eof(transport);
        if (received < 0) {
            if (!is_transient(received)) read_failed(transport, static_cast<int>(-received));
            return;
        }
        Ref<> count = Ref<>::steal(PyLong_FromSsize_t(received));
        Ref<> done =
            Ref<>::steal(count ? PyObject_CallMethodOneArg(protocol.get(),
                                                           state->str_buffer_updated, count.get())
                               : nullptr);
        if (!done) contain(transport, loop, "Fatal error: protocol.buffer_updated() call failed.");
    });
}

}  // namespace

std::span<std::byte> bytes_memory(PyObject* block) noexcept {
    return {reinterpret_cast<std::byte*>(PyBytes_AS_STRING(block)),
            static_cast<std::size_t>(PyBytes_GET_SIZE(block))};
}

std::uint32_t next_read_size(std::size_t received, std::size_t capacity) noexcept {
    if (received < kLargeRead) return 0;
    std::size_t wanted = received == capacity ? 2 * capacity : (received / kPage + 1) * kPage;
    return static_cast<std::uint32_t>(std::min(wanted, Network::kMostBytesARead));
}

void resize_block(PyObject* block, std::size_t size) noexcept {
    Py_SET_SIZE(reinterpret_cast<PyVarObject*>(block), static_cast<Py_ssize_t>(size));
    PyBytes_AS_STRING(block)[size] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    reinterpret_cast<PyBytesObject*>(block)->ob_shash = -1;  // of what was in it before
#pragma GCC diagnostic pop
}

void read_ready(SocketTransport* transport) noexcept {
    if (transport->lost > 0) return;
    if (transport->kind == TransportKind::kWritePipe)
        return in_read_context(transport, [&] { pipe_reader_left(transport); });
    if (transport->native != nullptr && !transport->native->keeps_bytes())
        return read_natively(transport);
    if (transport->is_buffered) return read_into_buffer(transport);
    if (transport->read_size == 0) return read_small(transport);
    read_large(transport);
}

PyObject* fitted_block(Ref<> block, std::size_t size) noexcept {
    if (2 * size < bytes_memory(block.get()).size())
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(block.get()),
                                         static_cast<Py_ssize_t>(size));
    resize_block(block.get(), size);
    return block.release();
}

bool start_reading(Transport* transport) noexcept {
    Loop* loop = transport->loop;
    PyObject* context = watching_context(transport);
    if (context == nullptr) return false;
    Py_XSETREF(transport->read_context, context);
    if (loop->network == nullptr) return check_open(loop);
    int error = transport->endpoint->channel().start_reading();
    settle_hold(transport);
    if (error == 0) return true;
    raise_watch_error(loop, error);
    return false;
}

PyObject* transport_is_reading(PyObject* self, PyObject*) {
    return PyBool_FromLong(!as_any_transport(self)->is_closing &&
                           !as_any_transport(self)->is_paused);
}

PyObject* transport_pause_reading(PyObject* self, PyObject*) {
    Transport* transport = as_any_transport(self);
    if (transport->is_closing || transport->is_paused) Py_RETURN_NONE;
    transport->is_paused = true;
    transport->endpoint->channel().stop_reading();
    if (transport->loop->is_debug) log_debug("%r pauses reading", self);
    settle_hold(transport);
    Py_RETURN_NONE;
}

PyObject* transport_resume_reading(PyObject* self, PyObject*) {
    Transport* transport = as_any_transport(self);
    if (transport->is_closing || !transport->is_paused) Py_RETURN_NONE;
    transport->is_paused = false;
    if (!start_reading(transport)) {
        transport->is_paused = true;
        return nullptr;
    }
    if (transport->loop->is_debug) log_debug("%r resumes reading", self);
    Py_RETURN_NONE;
}

}  // namespace penstock::py
