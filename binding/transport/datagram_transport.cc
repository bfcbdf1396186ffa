#include "transport/datagram_transport.h"

#include <new>

#include "loop/fd_table.h"
#include "loop/slow_call.h"
#include "net/socket.h"
#include "py/arguments.h"
#include "py/types.h"
#include "transport/methods.h"
#include "transport/shared_methods.h"

namespace penstock::py {
namespace {

bool open_endpoint(DatagramTransport* transport) noexcept {
    if (!check_open(transport->loop)) return false;  // the socket's own methods may have closed it
    auto* endpoint = new (std::nothrow)
        DatagramEndpoint(transport, transport->loop->reactor->backend(), transport->fd);
    transport->datagrams = endpoint;
    return adopt_endpoint(transport, endpoint);
}

// A peer without a name is none, as in asyncio.
bool look_for_peer(DatagramTransport* transport) noexcept {
    PyObject* peername =
        PyDict_GetItemWithError(transport->extra, transport->loop->state->str_peername);
    int has_peer = peername != nullptr ? PyObject_IsTrue(peername) : 0;
    transport->has_peer = has_peer > 0;
    return has_peer >= 0 && !PyErr_Occurred();
}

PyObject* set_protocol(PyObject* self, PyObject* protocol) {
    Py_XSETREF(as_any_transport(self)->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

PyObject* get_remote(PyObject* self, void*) {
    PyObject* remote = as_datagram_transport(self)->remote;
    return Py_NewRef(remote != nullptr ? remote : Py_None);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(as_datagram_transport(self)->remote);
    Py_VISIT(as_datagram_transport(self)->known);
    return transport_traverse(self, visit, arg);
}

int clear(PyObject* self) {
    Py_CLEAR(as_datagram_transport(self)->remote);
    Py_CLEAR(as_datagram_transport(self)->known);
    return transport_clear(self);
}

PyMethodDef methods[] = {
    {"sendto", method(transport_sendto), kFast,
     "sendto($self, data, addr=None)\n--\n\nSend a datagram; where the socket doesn't take it, it "
     "is queued."},
    {"close", transport_close, METH_NOARGS,
     "close($self)\n--\n\nClose the socket once the queue has drained."},
    {"abort", transport_abort, METH_NOARGS,
     "abort($self)\n--\n\nClose the socket at once; what is queued is lost."},
    kIsClosing,
    {"is_reading", transport_is_reading, METH_NOARGS,
     "is_reading($self)\n--\n\nWhether datagrams are received."},
    kPauseReading,
    kResumeReading,
    {"get_extra_info", method(transport_get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information: socket, sockname, "
     "peername."},
    {"set_protocol", method(one_argument<"set_protocol", "protocol", set_protocol>), kFast,
     "set_protocol($self, protocol)\n--\n\nChange who is told of what happens."},
    kGetProtocol,
    kGetWriteBufferSize,
    kGetWriteBufferLimits,
    kSetWriteBufferLimits,
    kStart,
    kCallConnectionLost,
    {"_force_close", transport_force_close, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    kMaxSize,
    {"_loop", transport_get_loop, nullptr, nullptr, nullptr},
    {"_sock", get_object<&Transport::sock>, nullptr, nullptr, nullptr},
    {"_sock_fd", transport_get_fd, nullptr, nullptr, nullptr},
    {"_protocol", get_object<&Transport::protocol>, nullptr, nullptr, nullptr},
    {"_address", get_remote, nullptr, nullptr, nullptr},
    {"_conn_lost", transport_get_lost, nullptr, nullptr, nullptr},
    {"_closing", get_flag<&Transport::is_closing>, nullptr, nullptr, nullptr},
    {"_paused", get_flag<&Transport::is_paused>, nullptr, nullptr, nullptr},
    {"_protocol_paused", get_flag<&Transport::is_protocol_paused>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A transport over a datagram socket.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(transport_dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize_transport)},
                       {Py_tp_repr, reinterpret_cast<void*>(transport_repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, transport_members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.DatagramTransport", sizeof(DatagramTransport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

}  // namespace

DatagramEndpoint::~DatagramEndpoint() { transport_->datagrams = nullptr; }

void DatagramEndpoint::on_readable() noexcept {
    Ref<DatagramTransport> transport = Ref<DatagramTransport>::borrow(transport_);
    Loop* loop = transport->loop;
    // Whatever waits is reported again in the next turn, or run.
    if (loop->failure != nullptr || transport->lost > 0 || !may_read(transport.get())) return;
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(transport.get()), "_read_ready", transport->protocol);
    receive_datagrams(transport.get());
    note_caused(transport.get());
}

// sock, protocol, the only address to send to or None, waiter
PyObject* loop_make_datagram_transport(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    Loop* loop = as_loop(self);
    if (count != 4)
        return PyErr_Format(PyExc_TypeError, "_make_datagram_transport() takes 4 arguments");
    PyObject *sock = args[0], *protocol = args[1], *remote = args[2], *waiter = args[3];
    if (!check_open(loop)) return nullptr;
    Ref<> free = Ref<>::steal(loop_ensure_fd_no_transport(self, sock));
    int fd = free ? fd_of(sock) : -1;
    if (fd < 0) return nullptr;
    PyTypeObject* type = loop->state->datagram_transport;
    Ref<DatagramTransport> transport =
        Ref<DatagramTransport>::steal(as_datagram_transport(type->tp_alloc(type, 0)));
    if (!transport) return nullptr;
    transport->loop = as_loop(Py_NewRef(self));
    transport->kind = TransportKind::kDatagram;
    transport->fd = fd;
    transport->family = Address::local_of(fd).family();
    transport->remote = remote != Py_None ? Py_NewRef(remote) : nullptr;
    if (!take_context(transport.get())) return nullptr;
    if (!fill_extra(transport.get(), sock, nullptr) || !look_for_peer(transport.get()))
        return nullptr;
    transport->sock = Py_NewRef(sock);
    transport->protocol = Py_NewRef(protocol);
    if (!open_endpoint(transport.get()) || !schedule_start(transport.get(), waiter)) return nullptr;
    return object(transport.release());
}

// As asyncio's: a Transport as well, and a DatagramTransport from CPython 3.12 on.
bool add_datagram_transport_type(PyObject* module, State* state) {
    Ref<> transports = Ref<>::steal(PyImport_ImportModule("asyncio.transports"));
    if (!transports) return false;
    Ref<> stream = Ref<>::steal(PyObject_GetAttrString(transports.get(), "Transport"));
    Ref<> datagram = Ref<>::steal(PyObject_GetAttrString(transports.get(), "DatagramTransport"));
    if (!stream || !datagram || !check_base(stream.get(), "Transport") ||
        !check_base(datagram.get(), "DatagramTransport"))
        return false;
    Ref<> bases = Ref<>::steal(PyTuple_Pack(2, stream.get(), datagram.get()));
    return bases && add_type(module, spec, bases.get(), state->datagram_transport);
}

}  // namespace penstock::py
