#include "transport/acceptor.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <new>

#include "loop/slow_call.h"
#include "net/listener.h"
#include "py/types.h"
#include "transport/log.h"
#include "transport/methods.h"
#include "transport/network.h"
#include "transport/sockaddr.h"
#include "transport/socket_transport.h"
#include "transport/tls_transport.h"

namespace penstock::py {
namespace {

struct Acceptor;

// The kernel's side of an acceptor.
class Door final : public Listener::Observer {
public:
    Door(Acceptor* acceptor, Backend& backend, int fd, std::size_t accepts_a_turn)
        : listener(backend, fd, accepts_a_turn, *this), acceptor_(acceptor) {}

    void on_accepted(UniqueFd fd, const Address& peer) noexcept override;
    void on_exhausted(int error) noexcept override;
    void on_error(int error) noexcept override;

    Listener listener;

private:
    Acceptor* acceptor_;
};

struct Acceptor {
    PyObject_HEAD Loop* loop;  // strong
    Door* door;                // nullptr once stopped
    PyObject* sock;
    PyObject* factory;
    PyObject* server;
    PyObject* context;  // the one in which serving was started
    PyObject* tls;      // None, or (SSLContext, handshake timeout, shutdown timeout)
    PyObject* retry;    // the timer that ends a pause
    int family, type, protocol;
    bool is_ordinary;  // a socket that a transport can tell all of: see TransportOptions::accepted
};

constexpr std::size_t kMostAcceptsATurn = 64;

Acceptor* as_acceptor(PyObject* object) noexcept { return reinterpret_cast<Acceptor*>(object); }

PyObject* os_error(int error) noexcept {
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return take_exception();
}

Ref<> socket_of(const Acceptor* acceptor, UniqueFd& fd) noexcept {
    return Ref<>::steal(new_socket(acceptor->loop->state, acceptor->family, acceptor->type,
                                   acceptor->protocol, fd));
}

// The object of a socket may tell another family than the kernel does.
bool is_ordinary(const Acceptor* acceptor, int fd) noexcept {
    return (acceptor->family == AF_INET || acceptor->family == AF_INET6) &&
           acceptor->type == SOCK_STREAM &&
           (acceptor->protocol == IPPROTO_TCP || acceptor->protocol == 0) &&
           Address::local_of(fd).family() == acceptor->family;
}

// Whether anybody hears of audit events, that of a new socket among them: only then are the
// arguments of one built. This one is never raised: its only argument fails.
bool is_audited() noexcept {
    bool is_heard = false;
    PyObject* (*note)(void*) = [](void* heard) -> PyObject* {
        *static_cast<bool*>(heard) = true;
        return PyErr_NoMemory();
    };
    if (PySys_Audit("penstock.is_audited", "(O&)", note, &is_heard) < 0) PyErr_Clear();
    return is_heard;
}

// Whether nobody sees that the connection has no socket object yet.
bool may_put_off_socket(const Acceptor* acceptor, int fd, const Address& peer) noexcept {
    const Loop* loop = acceptor->loop;
    return acceptor->is_ordinary && peer.family() == acceptor->family && !loop->is_debug &&
           loop->network->at(fd) == nullptr && !is_audited();
}

// What the connection's transport calls: the application's protocol, or TLS before it.
Ref<> first_protocol(const Acceptor* acceptor, PyObject* protocol) noexcept {
    if (acceptor->tls == Py_None) return Ref<>::borrow(protocol);
    TlsOptions options{};
    options.protocol = protocol;
    options.context = PyTuple_GET_ITEM(acceptor->tls, 0);
    options.waiter = options.server_hostname = Py_None;
    options.handshake_timeout = PyTuple_GET_ITEM(acceptor->tls, 1);
    options.shutdown_timeout = PyTuple_GET_ITEM(acceptor->tls, 2);
    options.is_server = options.calls_connection_made = options.is_accepted = true;
    return Ref<>::steal(make_tls_transport(acceptor->loop, options));
}

void log_connection(const Acceptor* acceptor, PyObject* sock, const Address& peer) noexcept {
    Ref<> address = Ref<>::steal(sockaddr_object(peer));
    if (address)
        log_debug("%r got a new connection from %r: %r", acceptor->server, address.get(), sock);
    else
        PyErr_WriteUnraisable(sock);
}

// No transport has it. A socket object would warn as it goes, and so it does.
void drop_unclosed(const Acceptor* acceptor, UniqueFd& fd) noexcept {
    PyObject* pending = take_exception();
    if (!socket_of(acceptor, fd)) PyErr_Clear();
    if (pending != nullptr) raise_exception(pending);
}

// A factory of ours that has no room for more has raised ConnectionRefusedError: that is no fault
// of which anybody is to be warned.
void turn_away(PyObject* sock, UniqueFd fd) noexcept {
    fd.reset();
    if (sock == nullptr) return;
    PyObject* pending = take_exception();
    Ref<> closed = Ref<>::steal(PyObject_CallMethod(sock, "close", nullptr));
    if (!closed) PyErr_Clear();
    raise_exception(pending);
}

// What asyncio does in a task of its own: whatever goes wrong is told in debug mode only.
void welcome(Acceptor* acceptor, UniqueFd fd, const Address& peer) noexcept {
    Loop* loop = acceptor->loop;
    bool puts_off = may_put_off_socket(acceptor, fd.get(), peer);
    Ref<> sock = puts_off ? Ref<>() : socket_of(acceptor, fd);
    if (sock && loop->is_debug) log_connection(acceptor, sock.get(), peer);
    Ref<> protocol, transport;
    if (sock || puts_off) protocol = Ref<>::steal(PyObject_CallNoArgs(acceptor->factory));
    Ref<> first = protocol ? first_protocol(acceptor, protocol.get()) : Ref<>();
    if (first) {
        transport = Ref<>::steal(
            make_socket_transport(loop, {.sock = sock.get(),
                                         .protocol = first.get(),
                                         .waiter = nullptr,
                                         .extra = nullptr,
                                         .server = acceptor->server,
                                         .peer = &peer,
                                         .accepted = puts_off ? &fd : nullptr,
                                         .names_tcp = acceptor->protocol == IPPROTO_TCP}));
    }
    if (transport) return;
    if (!protocol && PyErr_ExceptionMatches(PyExc_ConnectionRefusedError))
        turn_away(sock.get(), std::move(fd));
    else if (fd.is_open())
        drop_unclosed(acceptor, fd);
    if (take_failure(loop)) return;
    PyObject* error = take_exception();
    if (loop->is_debug)
        report_exception(loop, "Error on transport creation for incoming connection", error,
                         {{"protocol", protocol.get()}});
    else
        Py_XDECREF(error);
}

void Door::on_accepted(UniqueFd fd, const Address& peer) noexcept {
    // Serving may end in the factory, and this door with it.
    Ref<Acceptor> acceptor = Ref<Acceptor>::borrow(acceptor_);
    Loop* loop = acceptor->loop;
    if (loop->failure != nullptr) return;  // the loop is about to end; the fd closes
    set_current_task(loop, nullptr);
    TimedCall timed(loop, object(loop), "_accept_connection", acceptor->factory);
    // A copy each: what a factory changes is its connection's.
    PyObject* context = is_context(acceptor->context) ? PyContext_Copy(acceptor->context)
                                                      : Py_NewRef(acceptor->context);
    bool entered = context != nullptr && run_in_context(loop, context, false, [&] {
                       welcome(acceptor.get(), std::move(fd), peer);
                   });
    if (!entered) PyErr_WriteUnraisable(object(acceptor.get()));
    Py_XDECREF(context);
}

void Door::on_exhausted(int error) noexcept {
    Ref<Acceptor> acceptor = Ref<Acceptor>::borrow(acceptor_);
    Loop* loop = acceptor->loop;
    Ref<> sock = Ref<>::steal(PyObject_CallOneArg(loop->state->transport_socket, acceptor->sock));
    if (!sock) PyErr_Clear();
    report_exception(loop, "socket.accept() out of system resource", os_error(error),
                     {{"socket", sock.get()}});
    if (acceptor->door == nullptr) return;  // whoever heard of it has closed the server
    Ref<> constants = Ref<>::steal(PyImport_ImportModule("asyncio.constants"));
    Ref<> delay = Ref<>::steal(
        constants ? PyObject_GetAttrString(constants.get(), "ACCEPT_RETRY_DELAY") : nullptr);
    Ref<> resume =
        Ref<>::steal(delay ? PyObject_GetAttrString(object(acceptor.get()), "_resume") : nullptr);
    Ref<> timer = Ref<>::steal(
        resume ? PyObject_CallMethod(object(loop), "call_later", "OO", delay.get(), resume.get())
               : nullptr);
    if (!timer && !take_failure(loop)) PyErr_WriteUnraisable(object(acceptor.get()));
    Py_XSETREF(acceptor->retry, timer.release());
}

void Door::on_error(int error) noexcept {
    Ref<Acceptor> acceptor = Ref<Acceptor>::borrow(acceptor_);
    report_exception(acceptor->loop, "Exception in callback Loop._accept_connection()",
                     os_error(error), {});
}

PyObject* resume(PyObject* self, PyObject*) {
    Acceptor* acceptor = as_acceptor(self);
    Py_CLEAR(acceptor->retry);
    if (acceptor->door != nullptr) {
        int error = acceptor->door->listener.start();
        if (error != 0) return raise_watch_error(acceptor->loop, error);
    }
    Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Acceptor* acceptor = as_acceptor(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object(acceptor->loop));
    Py_VISIT(acceptor->sock);
    Py_VISIT(acceptor->factory);
    Py_VISIT(acceptor->server);
    Py_VISIT(acceptor->context);
    Py_VISIT(acceptor->tls);
    Py_VISIT(acceptor->retry);
    return 0;
}

// The loop stays until dealloc(): the door uses its backend.
int clear(PyObject* self) {
    Acceptor* acceptor = as_acceptor(self);
    delete std::exchange(acceptor->door, nullptr);
    Py_CLEAR(acceptor->sock);
    Py_CLEAR(acceptor->factory);
    Py_CLEAR(acceptor->server);
    Py_CLEAR(acceptor->context);
    Py_CLEAR(acceptor->tls);
    Py_CLEAR(acceptor->retry);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_XDECREF(object(as_acceptor(self)->loop));
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {{"_resume", resume, METH_NOARGS, "Accept again."},
                         {nullptr, nullptr, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Accepts the connections of a listening socket.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, methods},
    {0, nullptr}};

PyType_Spec spec = {"penstock._core.Acceptor", sizeof(Acceptor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

bool read_int(PyObject* object, const char* name, int& out) noexcept {
    Ref<> value = Ref<>::steal(PyObject_GetAttrString(object, name));
    long number = value ? PyLong_AsLong(value.get()) : -1;
    out = static_cast<int>(number);
    return value && (number != -1 || !PyErr_Occurred());
}

bool open_door(Acceptor* acceptor, int fd, Py_ssize_t backlog) noexcept {
    auto accepts = std::clamp<std::size_t>(
        static_cast<std::size_t>(std::max<Py_ssize_t>(backlog, 1)), 1, kMostAcceptsATurn);
    acceptor->door =
        new (std::nothrow) Door(acceptor, acceptor->loop->reactor->backend(), fd, accepts);
    if (acceptor->door == nullptr) {
        PyErr_NoMemory();
        return false;
    }
    int error = acceptor->door->listener.start();
    if (error == 0) return true;
    raise_watch_error(acceptor->loop, error);
    return false;
}

}  // namespace

void stop_acceptor(PyObject* acceptor) noexcept {
    delete std::exchange(as_acceptor(acceptor)->door, nullptr);
    Ref<> retry = Ref<>::steal(std::exchange(as_acceptor(acceptor)->retry, nullptr));
    if (!retry) return;
    PyObject* pending = take_exception();
    Ref<> done = Ref<>::steal(PyObject_CallMethod(retry.get(), "cancel", nullptr));
    if (!done) PyErr_WriteUnraisable(retry.get());
    if (pending != nullptr) raise_exception(pending);
}

PyObject* loop_listen(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Loop* loop = as_loop(self);
    bool has_tls = count == 5 && PyTuple_Check(args[4]) && PyTuple_GET_SIZE(args[4]) == 3;
    if (count < 4 || (count == 5 && !has_tls && args[4] != Py_None) || count > 5 ||
        keyword_count(names) != 0) {
        PyErr_SetString(PyExc_TypeError,
                        "_listen() takes sock, protocol_factory, server, backlog and tls");
        return nullptr;
    }
    if (!check_open(loop)) return nullptr;
    Ref<> number = Ref<>::steal(PyObject_CallMethodNoArgs(args[0], loop->state->str_fileno));
    int fd = number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
    Py_ssize_t backlog = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred()) return nullptr;
    PyTypeObject* type = loop->state->acceptor;
    Ref<Acceptor> acceptor = Ref<Acceptor>::steal(as_acceptor(type->tp_alloc(type, 0)));
    if (!acceptor) return nullptr;
    acceptor->loop = as_loop(Py_NewRef(self));
    acceptor->sock = Py_NewRef(args[0]);
    acceptor->factory = Py_NewRef(args[1]);
    acceptor->server = Py_NewRef(args[2]);
    acceptor->tls = Py_NewRef(has_tls ? args[4] : Py_None);
    acceptor->context =
        Scratch::snapshot(current_thread(loop), loop->state->bare_context, loop->state->empty_vars);
    if (acceptor->context == nullptr || !read_int(args[0], "family", acceptor->family) ||
        !read_int(args[0], "type", acceptor->type) ||
        !read_int(args[0], "proto", acceptor->protocol) ||
        !(acceptor->is_ordinary = is_ordinary(acceptor.get(), fd), true) ||
        !open_door(acceptor.get(), fd, backlog) ||
        PyDict_SetItem(loop->network->acceptors(), args[0], object(acceptor.get())) < 0) {
        stop_acceptor(object(acceptor.get()));
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* loop_unlisten(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Loop* loop = as_loop(self);
    if (count != 1 || keyword_count(names) != 0) {
        PyErr_SetString(PyExc_TypeError, "_unlisten() takes sock");
        return nullptr;
    }
    if (loop->network == nullptr) Py_RETURN_NONE;
    PyObject* acceptors = loop->network->acceptors();
    PyObject* found = PyDict_GetItemWithError(acceptors, args[0]);
    if (found == nullptr) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    stop_acceptor(found);
    if (PyDict_DelItem(acceptors, args[0]) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* loop_transports_of(PyObject* self, PyObject* server) {
    const Loop* loop = as_loop(self);
    return loop->network != nullptr ? loop->network->transports_of(server) : PyList_New(0);
}

bool add_acceptor_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->acceptor);
}

}  // namespace penstock::py
