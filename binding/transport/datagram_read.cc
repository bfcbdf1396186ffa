// What comes in: datagrams, each to the protocol, and the errors that the kernel has for us.
//
// asyncio receives one a turn, and programs rely on it: what the protocol schedules when it is
// told of a datagram, such as the task that waits for it, runs before the next one comes. So a
// turn may bring more only as long as nothing has become ready to run.
#include "net/socket.h"
#include "transport/datagram_transport.h"
#include "transport/network.h"
#include "transport/sockaddr.h"

namespace penstock::py {
namespace {

constexpr int kMostDatagramsATurn = 16;

// The rest in the context of reading; what leaves it is reported, and the transport goes on.
template <class Body>
void in_read_context(DatagramTransport* transport, Body body) noexcept {
    Loop* loop = transport->loop;
    bool done = false;
    bool entered = run_in_context(loop, transport->read_context, true, [&] { done = body(); });
    if (!entered || !done) report_callback(loop, transport, "_read_ready");
}

// The object of where a datagram came from. The same sender has the same object.
Ref<> sender(DatagramTransport* transport, const Address& from) noexcept {
    DatagramEndpoint& endpoint = *transport->datagrams;
    if (transport->known == nullptr || !(endpoint.address == from)) {
        PyObject* made = sockaddr_object(from);
        if (made == nullptr) return {};
        endpoint.address = from;
        Py_XSETREF(transport->known, made);
    }
    return Ref<>::borrow(transport->known);
}

bool deliver(DatagramTransport* transport, PyObject* data, PyObject* from) noexcept {
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    PyObject* args[] = {protocol.get(), data, from};
    Ref<> done =
        Ref<>::steal(PyObject_VectorcallMethod(transport->loop->state->str_datagram_received, args,
                                               3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    return static_cast<bool>(done);
}

// Of a family that only the socket module can spell. Whether there may be more.
bool receive_by_socket(DatagramTransport* transport) noexcept {
    bool is_over = false;
    in_read_context(transport, [&] {
        Ref<> sock = Ref<>::borrow(transport->sock);
        Ref<> received = Ref<>::steal(PyObject_CallMethod(
            sock.get(), "recvfrom", "n", static_cast<Py_ssize_t>(most_a_read(transport))));
        PyObject *data, *from;
        if (received && PyArg_ParseTuple(received.get(), "OO", &data, &from))
            return deliver(transport, data, from);
        is_over = true;
        if (PyErr_ExceptionMatches(PyExc_BlockingIOError)) return PyErr_Clear(), true;
        if (PyErr_ExceptionMatches(PyExc_OSError)) return tell_error(transport);
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
            PyErr_ExceptionMatches(PyExc_SystemExit))
            return false;
        return fatal_error(transport, take_exception(), "Fatal read error on datagram transport");
    });
    return !is_over;
}

// Whether there may be more.
bool receive_one(DatagramTransport* transport) noexcept {
    if (!is_native_family(transport->family)) return receive_by_socket(transport);
    std::span<std::byte> memory = transport->loop->network->scratch().first(most_a_read(transport));
    Address from;
    ssize_t received = socket::recv_from(transport->fd, memory, from);
    if (socket::would_block(received)) return false;
    in_read_context(transport, [&] {
        if (received < 0) {
            errno = static_cast<int>(-received);
            PyErr_SetFromErrno(PyExc_OSError);
            return tell_error(transport);
        }
        Ref<> data = Ref<>::steal(
            PyBytes_FromStringAndSize(reinterpret_cast<const char*>(memory.data()), received));
        Ref<> address = sender(transport, from);
        return data && address ? deliver(transport, data.get(), address.get())
                               : fatal_error(transport, take_exception(),
                                             "Fatal read error on datagram transport");
    });
    return received >= 0;
}

}  // namespace

bool tell_error(Transport* transport) noexcept {
    Ref<> error = Ref<>::steal(take_exception());
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(
        protocol.get(), transport->loop->state->str_error_received, error.get()));
    return static_cast<bool>(done);
}

void receive_datagrams(DatagramTransport* transport) noexcept {
    Loop* loop = transport->loop;
    for (int i = 0; i < kMostDatagramsATurn && receive_one(transport); ++i) {
        bool goes_on = transport->datagrams != nullptr &&
                       transport->datagrams->socket.is_reading() && loop->failure == nullptr &&
                       loop->reactor->ready().empty();
        if (!goes_on) return;
    }
}

}  // namespace penstock::py
