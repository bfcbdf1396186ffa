#include "transport/pipe_transport.h"

#include <sys/stat.h>

#include "loop/fd_table.h"
#include "net/socket.h"
#include "py/arguments.h"
#include "py/os_error.h"
#include "py/types.h"
#include "transport/log.h"
#include "transport/methods.h"
#include "transport/network.h"
#include "transport/shared_methods.h"

namespace penstock::py {
namespace {

PipeTransport* as_pipe(SocketTransport* transport) noexcept {
    return reinterpret_cast<PipeTransport*>(transport);
}

// ---- making one ------------------------------------------------------------------------------

bool check_mode(const struct stat& status, bool writes) noexcept {
    if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode))
        return true;
    PyErr_SetString(PyExc_ValueError,
                    writes ? "Pipe transport is only for pipes, sockets and character devices"
                           : "Pipe transport is for pipes/sockets only.");
    return false;
}

// As asyncio: what has no fileno() says so itself, and a number is no pipe, for who would close it?
int fd_of_pipe(PyObject* pipe) noexcept {
    Ref<> number = Ref<>::steal(PyObject_CallMethod(pipe, "fileno", nullptr));
    return number ? fd_of(number.get()) : -1;
}

PyObject* make_pipe_transport(Loop* loop, PyObject* const* args, bool writes) noexcept {
    if (!check_open(loop)) return nullptr;
    State* state = loop->state;
    PyObject* pipe = args[0];
    int fd = fd_of_pipe(pipe);
    if (fd < 0) return nullptr;
    struct stat status;
    if (::fstat(fd, &status) < 0) return raise_os_error(errno, "fstat");
    if (!check_mode(status, writes)) return nullptr;
    int error = socket::set_nonblocking(fd);
    if (error != 0) return raise_os_error(-error, "fcntl");

    PyTypeObject* type = writes ? state->write_pipe : state->read_pipe;
    Ref<SocketTransport> transport =
        Ref<SocketTransport>::steal(as_transport(type->tp_alloc(type, 0)));
    if (!transport) return nullptr;
    transport->kind = !writes                   ? TransportKind::kReadPipe
                      : S_ISCHR(status.st_mode) ? TransportKind::kWriteDevice
                                                : TransportKind::kWritePipe;
    transport->fd = fd;
    as_pipe(transport.get())->device = status.st_dev;
    as_pipe(transport.get())->inode = status.st_ino;
    transport->extra = PyDict_New();
    if (transport->extra == nullptr || PyDict_SetItem(transport->extra, state->str_pipe, pipe) < 0)
        return nullptr;
    transport->protocol = Py_NewRef(args[1]);
    if (!check_open(loop)) return nullptr;  // again: fileno() may have closed it
    // Whoever has the number keeps it: programs read and write a terminal by one fd.
    bool is_taken = loop->network->at(fd) != nullptr || loop->fds->is_wanted(fd);
    transport->loop = as_loop(Py_NewRef(object(loop)));
    if (!open_connection(transport.get(), is_taken) || !schedule_start(transport.get(), args[2]))
        return disown(transport.get()), nullptr;
    transport->sock = Py_NewRef(pipe);
    return object(transport.release());
}

// ---- methods ---------------------------------------------------------------------------------

template <bool kWrites>
PyObject* repr(PyObject* self) {
    SocketTransport* transport = as_transport(self);
    Ref<> name = Ref<>::steal(PyObject_GetAttrString(object(Py_TYPE(self)), "__name__"));
    if (!name) return nullptr;
    if (transport->sock == nullptr)
        return PyUnicode_FromFormat("<%U closed fd=%d closed>", name.get(), transport->fd);
    const char* state = transport->is_closing ? " closing" : "";
    if (transport->loop->is_closed)
        return PyUnicode_FromFormat("<%U%s fd=%d open>", name.get(), state, transport->fd);
    const Stream& stream = stream_of(transport);
    if (kWrites)
        return PyUnicode_FromFormat("<%U%s fd=%d %s bufsize=%zu>", name.get(), state, transport->fd,
                                    stream.is_writing() ? "polling" : "idle", stream.queued());
    return PyUnicode_FromFormat("<%U%s fd=%d %s>", name.get(), state, transport->fd,
                                stream.is_reading() ? "polling" : "idle");
}

PyObject* get_dropped(PyObject* self, void*) {
    return PyLong_FromUnsignedLong(as_transport(self)->dropped);
}

// `_pipe = None` disowns the pipe, as in asyncio: its owner closes it, and the transport is over.
int set_pipe(PyObject* self, PyObject* value, void*) {
    SocketTransport* transport = as_transport(self);
    if (value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "_pipe can only be set to None");
        return -1;
    }
    if (transport->sock != nullptr) disown(transport);
    return 0;
}

PyMethodDef read_methods[] = {
    {"close", transport_close, METH_NOARGS, "close($self)\n--\n\nClose the pipe."},
    kIsClosing,
    kIsReading,
    kPauseReading,
    kResumeReading,
    {"get_extra_info", method(transport_get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information: pipe."},
    kSetProtocol,
    kGetProtocol,
    kStart,
    kCallConnectionLost,
    {"_close", transport_force_close, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef write_methods[] = {
    {"write", method(one_argument<"write", "data", transport_write>), kFast,
     "write($self, data)\n--\n\nWrite bytes; what the pipe doesn't take is queued."},
    {"write_eof", transport_close, METH_NOARGS, "write_eof($self)\n--\n\nThe same as close()."},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, "can_write_eof($self)\n--\n\nTrue."},
    {"close", transport_close, METH_NOARGS,
     "close($self)\n--\n\nClose the pipe once the queue has drained."},
    {"abort", transport_abort, METH_NOARGS,
     "abort($self)\n--\n\nClose the pipe at once; what is queued is lost."},
    kIsClosing,
    {"get_extra_info", method(transport_get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information: pipe."},
    kSetProtocol,
    kGetProtocol,
    kGetWriteBufferSize,
    kGetWriteBufferLimits,
    kSetWriteBufferLimits,
    kStart,
    kCallConnectionLost,
    {"_close", transport_force_close, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr}};

// What programs know of asyncio's.
PyGetSetDef read_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    kMaxSize,
    {"_loop", transport_get_loop, nullptr, nullptr, nullptr},
    {"_pipe", get_object<&SocketTransport::sock>, set_pipe, nullptr, nullptr},
    {"_fileno", transport_get_fd, nullptr, nullptr, nullptr},
    {"_protocol", get_object<&SocketTransport::protocol>, nullptr, nullptr, nullptr},
    {"_closing", get_flag<&SocketTransport::is_closing>, nullptr, nullptr, nullptr},
    {"_paused", get_flag<&SocketTransport::is_paused>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyGetSetDef write_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"_loop", transport_get_loop, nullptr, nullptr, nullptr},
    {"_pipe", get_object<&SocketTransport::sock>, set_pipe, nullptr, nullptr},
    {"_fileno", transport_get_fd, nullptr, nullptr, nullptr},
    {"_protocol", get_object<&SocketTransport::protocol>, nullptr, nullptr, nullptr},
    {"_closing", get_flag<&SocketTransport::is_closing>, nullptr, nullptr, nullptr},
    {"_conn_lost", get_dropped, nullptr, nullptr, nullptr},
    {"_protocol_paused", get_flag<&SocketTransport::is_protocol_paused>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot read_slots[] = {{Py_tp_doc, const_cast<char*>("A transport that reads a pipe.")},
                            {Py_tp_dealloc, reinterpret_cast<void*>(transport_dealloc)},
                            {Py_tp_traverse, reinterpret_cast<void*>(transport_traverse)},
                            {Py_tp_clear, reinterpret_cast<void*>(transport_clear)},
                            {Py_tp_finalize, reinterpret_cast<void*>(finalize_transport)},
                            {Py_tp_repr, reinterpret_cast<void*>(repr<false>)},
                            {Py_tp_methods, read_methods},
                            {Py_tp_getset, read_attributes},
                            {Py_tp_members, transport_members},
                            {0, nullptr}};

PyType_Slot write_slots[] = {{Py_tp_doc, const_cast<char*>("A transport that writes a pipe.")},
                             {Py_tp_dealloc, reinterpret_cast<void*>(transport_dealloc)},
                             {Py_tp_traverse, reinterpret_cast<void*>(transport_traverse)},
                             {Py_tp_clear, reinterpret_cast<void*>(transport_clear)},
                             {Py_tp_finalize, reinterpret_cast<void*>(finalize_transport)},
                             {Py_tp_repr, reinterpret_cast<void*>(repr<true>)},
                             {Py_tp_methods, write_methods},
                             {Py_tp_getset, write_attributes},
                             {Py_tp_members, transport_members},
                             {0, nullptr}};

constexpr unsigned kFlags =
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
PyType_Spec read_spec = {"penstock._core.ReadPipeTransport", sizeof(PipeTransport), 0, kFlags,
                         read_slots};
PyType_Spec write_spec = {"penstock._core.WritePipeTransport", sizeof(PipeTransport), 0, kFlags,
                          write_slots};

PyObject* make_from_arguments(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              const char* function, bool writes) noexcept {
    if (count == 3) return make_pipe_transport(as_loop(self), args, writes);
    return PyErr_Format(PyExc_TypeError, "%s() takes pipe, protocol and waiter", function);
}

void closed_by_peer(SocketTransport* transport) noexcept {
    if (!transport->loop->is_debug) return;
    Ref<> args = Ref<>::steal(Py_BuildValue("(sO)", "%r was closed by peer", object(transport)));
    if (!log_call("info", args.get(), nullptr)) PyErr_WriteUnraisable(object(transport));
}

bool end_is_scheduled(SocketTransport* transport) noexcept {
    Loop* loop = transport->loop;
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    Ref<> callback = Ref<>::steal(PyObject_GetAttr(protocol.get(), loop->state->str_eof_received));
    Ref<> handle =
        Ref<>::steal(callback ? PyObject_CallMethodOneArg(object(loop), loop->state->str_call_soon,
                                                          callback.get())
                              : nullptr);
    return static_cast<bool>(handle);
}

}  // namespace

// Both in the context of reading.

// eof_received() comes in the next turn, and its answer changes nothing, as in asyncio.
void pipe_ended(SocketTransport* transport) noexcept {
    Loop* loop = transport->loop;
    Ref<> held = Ref<>::borrow(object(loop));
    closed_by_peer(transport);
    if (transport->is_closing) return;
    if (!end_is_scheduled(transport)) report_callback(loop, transport, "_read_ready");
    if (!close_transport(transport)) report_callback(loop, transport, "_read_ready");
}

void pipe_reader_left(SocketTransport* transport) noexcept {
    Ref<> loop = Ref<>::borrow(object(transport->loop));
    closed_by_peer(transport);
    if (transport->endpoint == nullptr) return;
    Ref<> error = stream_of(transport).queued() > 0
                      ? Ref<>::steal(PyObject_CallNoArgs(PyExc_BrokenPipeError))
                      : Ref<>::borrow(Py_None);
    Ref<> done =
        Ref<>::steal(error ? transport_force_close(object(transport), error.get()) : nullptr);
    if (!done) report_callback(as_loop(loop.get()), transport, "_read_ready");
}

bool leave_number(SocketTransport* transport) noexcept {
    struct stat status;
    bool is_ours = ::fstat(transport->fd, &status) == 0 &&
                   status.st_dev == as_pipe(transport)->device &&
                   status.st_ino == as_pipe(transport)->inode;
    int error = is_ours ? stream_of(transport).move_to_duplicate() : 0;
    if (error == 0) return true;
    raise_os_error(-error, "fcntl");
    return false;
}

PyObject* loop_make_read_pipe_transport(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return make_from_arguments(self, args, count, "_make_read_pipe_transport", false);
}

PyObject* loop_make_write_pipe_transport(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return make_from_arguments(self, args, count, "_make_write_pipe_transport", true);
}

bool add_pipe_types(PyObject* module, State* state) noexcept {
    Ref<> transports = Ref<>::steal(PyImport_ImportModule("asyncio.transports"));
    if (!transports) return false;
    Ref<> reading = Ref<>::steal(PyObject_GetAttrString(transports.get(), "ReadTransport"));
    if (!reading || !add_type(module, read_spec, reading.get(), state->read_pipe)) return false;
    // Not WriteTransport: asyncio's own is a Transport that can't read.
    Ref<> writing = Ref<>::steal(PyObject_GetAttrString(transports.get(), "Transport"));
    return writing && add_type(module, write_spec, writing.get(), state->write_pipe);
}

}  // namespace penstock::py
