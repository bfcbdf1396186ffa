#include "transport/tls_transport.h"

#include <new>

#include "py/arguments.h"
#include "py/types.h"
#include "transport/methods.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

TlsTransport* as_tls(PyObject* object) noexcept { return reinterpret_cast<TlsTransport*>(object); }
TlsSession& session_of(PyObject* self) noexcept { return *as_tls(self)->session; }

// ---- what asyncio.Transport has ----------------------------------------------------------------

PyObject* write(PyObject* self, PyObject* data) {
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) [[unlikely]]
        return PyErr_Format(PyExc_TypeError, "data: expecting a bytes-like instance, got %s",
                            type_name(data));
    View view;
    if (!view.open(data)) return nullptr;
    if (view.bytes().empty()) Py_RETURN_NONE;
    return none_if(session_of(self).write(view));
}

PyObject* writelines(PyObject* self, PyObject* list) {
    Views views;
    if (!views.open(list)) return nullptr;
    if (views.all().empty()) Py_RETURN_NONE;
    return none_if(session_of(self).write(views.all()));
}

PyObject* write_eof(PyObject*, PyObject*) {
    PyErr_SetNone(PyExc_NotImplementedError);  // as asyncio: TLS ends both directions at once
    return nullptr;
}

PyObject* can_write_eof(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* close(PyObject* self, PyObject*) { return none_if(session_of(self).close()); }
PyObject* abort(PyObject* self, PyObject*) { return none_if(session_of(self).abort(Py_None)); }
PyObject* force_close(PyObject* self, PyObject* exception) {
    return none_if(session_of(self).abort(exception));
}
PyObject* is_closing(PyObject* self, PyObject*) {
    return PyBool_FromLong(session_of(self).is_closing());
}
PyObject* is_reading(PyObject* self, PyObject*) {
    return PyBool_FromLong(!session_of(self).is_reading_paused());
}
PyObject* pause_reading(PyObject* self, PyObject*) {
    return none_if(session_of(self).pause_reading());
}
PyObject* resume_reading(PyObject* self, PyObject*) {
    return none_if(session_of(self).resume_reading());
}
PyObject* set_protocol(PyObject* self, PyObject* protocol) {
    return none_if(session_of(self).set_protocol(protocol));
}
PyObject* get_protocol(PyObject* self, PyObject*) {
    PyObject* protocol = session_of(self).protocol();
    return Py_NewRef(protocol != nullptr ? protocol : Py_None);
}

PyObject* get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject *name, *fallback;
    if (!read_extra_info_arguments(args, count, names, name, fallback)) return nullptr;
    return session_of(self).extra_info(name, fallback);
}

// ---- flow control ------------------------------------------------------------------------------

PyObject* get_write_buffer_size(PyObject* self, PyObject*) {
    return PyLong_FromSize_t(session_of(self).write_buffer_size());
}
PyObject* get_read_buffer_size(PyObject* self, PyObject*) {
    return PyLong_FromSize_t(session_of(self).read_buffer_size());
}
PyObject* get_write_buffer_limits(PyObject* self, PyObject*) {
    const TlsSession& session = session_of(self);
    return Py_BuildValue("(nn)", static_cast<Py_ssize_t>(session.write_low),
                         static_cast<Py_ssize_t>(session.write_high));
}
PyObject* get_read_buffer_limits(PyObject* self, PyObject*) {
    const TlsSession& session = session_of(self);
    return Py_BuildValue("(nn)", static_cast<Py_ssize_t>(session.read_low),
                         static_cast<Py_ssize_t>(session.read_high));
}
PyObject* set_write_buffer_limits(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                  PyObject* names) {
    TlsSession& session = session_of(self);
    std::size_t high, low;
    if (!parse_limits("set_write_buffer_limits", args, count, names, TlsSession::kWriteHighWater,
                      high, low))
        return nullptr;
    session.write_high = high;
    session.write_low = low;
    return none_if(session.control_app_writing());
}
PyObject* set_read_buffer_limits(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                 PyObject* names) {
    TlsSession& session = session_of(self);
    std::size_t high, low;
    if (!parse_limits("set_read_buffer_limits", args, count, names, TlsSession::kReadHighWater,
                      high, low))
        return nullptr;
    session.read_high = high;
    session.read_low = low;
    return none_if(session.control_reading());
}

// ---- for the loop, and for the transport below -------------------------------------------------

PyObject* begin(PyObject* self, PyObject* below) { return none_if(session_of(self).begin(below)); }
PyObject* resume(PyObject* self, PyObject*) { return none_if(session_of(self).resume()); }
PyObject* lost(PyObject* self, PyObject* exception) {
    return none_if(session_of(self).on_lost(exception));
}
PyObject* feed(PyObject* self, PyObject* data) {
    View view;
    if (!view.open(data)) return nullptr;
    return none_if(session_of(self).feed(view.bytes()));
}
PyObject* check_handshake_timeout(PyObject* self, PyObject*) {
    return none_if(session_of(self).handshake_timed_out());
}
PyObject* check_shutdown_timeout(PyObject* self, PyObject*) {
    return none_if(session_of(self).shutdown_timed_out());
}
PyObject* pause_writing(PyObject* self, PyObject*) {
    return none_if(session_of(self).on_pause_writing());
}
PyObject* resume_writing(PyObject* self, PyObject*) {
    return none_if(session_of(self).on_resume_writing());
}

// ---- attributes that programs know of asyncio's transports -------------------------------------

PyObject* get_self(PyObject* self, void*) { return Py_NewRef(self); }
PyObject* get_below(PyObject* self, void*) {
    PyObject* below = session_of(self).below();
    return Py_NewRef(below != nullptr ? below : Py_None);
}
// What start_tls() returns: None once the connection is lost.
PyObject* get_app_transport(PyObject* self, void*) {
    return Py_NewRef(session_of(self).protocol() != nullptr ? self : Py_None);
}
PyObject* get_context(PyObject* self, void*) {
    PyObject* context = session_of(self).context();
    return Py_NewRef(context != nullptr ? context : Py_None);
}
PyObject* get_loop(PyObject* self, void*) { return Py_NewRef(object(session_of(self).loop())); }
PyObject* get_closed(PyObject* self, void*) {
    return PyBool_FromLong(session_of(self).is_closed());
}
PyObject* get_protocol_paused(PyObject* self, void*) {
    return PyBool_FromLong(session_of(self).is_writing_paused());
}

PyObject* repr(PyObject* self) {
    TlsSession& session = session_of(self);
    Ref<> name = Ref<>::steal(PyObject_GetAttrString(object(Py_TYPE(self)), "__name__"));
    if (!name) return nullptr;
    const char* state = session.is_closed() ? " closed" : "";
    if (session.below() == nullptr) return PyUnicode_FromFormat("<%U%s>", name.get(), state);
    return PyUnicode_FromFormat("<%U%s over %R>", name.get(), state, session.below());
}

// ---- type --------------------------------------------------------------------------------------

int traverse(PyObject* self, visitproc visit, void* arg) {
    TlsTransport* transport = as_tls(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(transport->extra);
    Py_VISIT(transport->dict);
    return transport->session != nullptr ? transport->session->traverse(visit, arg) : 0;
}

int clear(PyObject* self) {
    TlsTransport* transport = as_tls(self);
    Py_CLEAR(transport->extra);
    Py_CLEAR(transport->dict);
    if (transport->session != nullptr) transport->session->clear();
    return 0;
}

void finalize(PyObject* self) {
    TlsTransport* transport = as_tls(self);
    if (transport->session == nullptr || transport->session->is_closed()) return;
    PyObject* pending = take_exception();
    if (PyErr_ResourceWarning(self, 1, "unclosed transport %R", self) < 0)
        PyErr_WriteUnraisable(self);
    transport->session->set_closed();
    if (pending != nullptr) raise_exception(pending);
}

void dealloc(PyObject* self) {
    if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    TlsTransport* transport = as_tls(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (transport->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
    clear(self);
    delete transport->session;
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyMethodDef methods[] = {
    {"write", method(one_argument<"write", "data", write>), kFast,
     "write($self, data)\n--\n\nEncrypt and send; what the connection doesn't take is queued."},
    {"writelines", method(one_argument<"writelines", "list_of_data", writelines>), kFast,
     "writelines($self, list_of_data)\n--\n\nThe same for several pieces of bytes at once."},
    {"write_eof", write_eof, METH_NOARGS,
     "write_eof($self)\n--\n\nRaises NotImplementedError, as in asyncio."},
    {"can_write_eof", can_write_eof, METH_NOARGS, "can_write_eof($self)\n--\n\nFalse."},
    {"close", close, METH_NOARGS,
     "close($self)\n--\n\nClose the connection once what is queued has left."},
    {"abort", abort, METH_NOARGS,
     "abort($self)\n--\n\nClose the connection at once; what is queued is lost."},
    {"is_closing", is_closing, METH_NOARGS,
     "is_closing($self)\n--\n\nWhether the transport is closed or being closed."},
    {"is_reading", is_reading, METH_NOARGS, "is_reading($self)\n--\n\nWhether data is received."},
    {"pause_reading", pause_reading, METH_NOARGS,
     "pause_reading($self)\n--\n\nReceive nothing until resume_reading()."},
    {"resume_reading", resume_reading, METH_NOARGS, "resume_reading($self)\n--\n\nReceive again."},
    {"get_extra_info", method(get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information: sslcontext, "
     "ssl_object, peercert, cipher, compression, and what the "
     "transport below knows."},
    {"set_protocol", method(one_argument<"set_protocol", "protocol", set_protocol>), kFast,
     "set_protocol($self, protocol)\n--\n\nChange who is told of what happens."},
    {"get_protocol", get_protocol, METH_NOARGS,
     "get_protocol($self)\n--\n\nWho is told of what happens."},
    {"get_write_buffer_size", get_write_buffer_size, METH_NOARGS,
     "get_write_buffer_size($self)\n--\n\nBytes that are queued."},
    {"get_write_buffer_limits", get_write_buffer_limits, METH_NOARGS,
     "get_write_buffer_limits($self)\n--\n\n(low, high)"},
    {"set_write_buffer_limits", method(set_write_buffer_limits), kFast,
     "set_write_buffer_limits($self, high=None, low=None)\n--\n\nSet the marks of flow control "
     "towards the peer, in bytes."},
    {"get_read_buffer_size", get_read_buffer_size, METH_NOARGS,
     "get_read_buffer_size($self)\n--\n\nBytes that were received and not decrypted."},
    {"get_read_buffer_limits", get_read_buffer_limits, METH_NOARGS,
     "get_read_buffer_limits($self)\n--\n\n(low, high)"},
    {"set_read_buffer_limits", method(set_read_buffer_limits), kFast,
     "set_read_buffer_limits($self, high=None, low=None)\n--\n\nSet the marks at which the "
     "transport below pauses and resumes reading, in bytes."},
    {"pause_writing", pause_writing, METH_NOARGS,
     "pause_writing($self)\n--\n\nThe transport below is full."},
    {"resume_writing", resume_writing, METH_NOARGS,
     "resume_writing($self)\n--\n\nThe transport below has room again."},
    {"_begin", begin, METH_O, nullptr},
    {"_resume", resume, METH_NOARGS, nullptr},
    {"_lost", lost, METH_O, nullptr},
    {"_feed", feed, METH_O, nullptr},
    {"_force_close", force_close, METH_O, nullptr},
    {"_check_handshake_timeout", check_handshake_timeout, METH_NOARGS, nullptr},
    {"_check_shutdown_timeout", check_shutdown_timeout, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"_app_transport", get_app_transport, nullptr, nullptr, nullptr},
    {"_loop", get_loop, nullptr, nullptr, nullptr},
    {"_ssl_protocol", get_self, nullptr, nullptr, nullptr},
    {"_sslcontext", get_context, nullptr, nullptr, nullptr},
    {"_transport", get_below, nullptr, nullptr, nullptr},
    {"_closed", get_closed, nullptr, nullptr, nullptr},
    {"_protocol_paused", get_protocol_paused, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(TlsTransport, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TlsTransport, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A stream transport over TLS.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, attributes},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.SSLTransport", sizeof(TlsTransport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

}  // namespace

PyObject* make_tls_transport(Loop* loop, const TlsOptions& options) noexcept {
    if (!check_open(loop)) return nullptr;
    TlsLibrary* library = tls_library(loop->state);
    if (library == nullptr) return nullptr;
    PyTypeObject* type = loop->state->tls_transport;
    Ref<TlsTransport> transport = Ref<TlsTransport>::steal(as_tls(type->tp_alloc(type, 0)));
    if (!transport) return nullptr;
    transport->session = new (std::nothrow) TlsSession(transport.get(), loop, library);
    if (transport->session == nullptr) return PyErr_NoMemory();
    if (transport->session->set_up(options)) return object(transport.release());
    transport->session->set_closed();  // there is nothing to warn of
    return nullptr;
}

// _make_tls(protocol, sslcontext, waiter, server_side, server_hostname, handshake_timeout,
//           shutdown_timeout, call_connection_made)
PyObject* loop_make_tls(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    if (count != 8) return PyErr_Format(PyExc_TypeError, "_make_tls() takes 8 arguments");
    int is_server = PyObject_IsTrue(args[3]);
    int calls_made = is_server < 0 ? -1 : PyObject_IsTrue(args[7]);
    if (calls_made < 0) return nullptr;
    return make_tls_transport(as_loop(self), {args[0], args[1], args[2], args[4], args[5], args[6],
                                              is_server != 0, calls_made != 0, false});
}

bool add_tls_transport_type(PyObject* module, State* state, PyObject* base) noexcept {
    if (!add_type(module, spec, base, state->tls_transport)) return false;
    PyObject* type = object(state->tls_transport);
    Ref<> constants = Ref<>::steal(PyImport_ImportModule("asyncio.constants"));
    Ref<> modes = Ref<>::steal(constants ? PyObject_GetAttrString(constants.get(), "_SendfileMode")
                                         : nullptr);
    Ref<> fallback =
        Ref<>::steal(modes ? PyObject_GetAttrString(modes.get(), "FALLBACK") : nullptr);
    return fallback && PyObject_SetAttrString(type, "_start_tls_compatible", Py_True) == 0 &&
           PyObject_SetAttrString(type, "_sendfile_compatible", fallback.get()) == 0;
}

}  // namespace penstock::py
