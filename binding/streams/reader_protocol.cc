#include "streams/reader_protocol.h"

#include <new>

#include "futures/future.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "streams/reader.h"
#include "sync/part_attributes.h"
#include "transport/log.h"

namespace penstock::py {
namespace {

// Made where there is none yet; nullptr with MemoryError set.
SeldomOfProtocol* need_seldom(ReaderProtocol* protocol) noexcept {
    if (protocol->seldom == nullptr) {
        protocol->seldom =
            static_cast<SeldomOfProtocol*>(PyMem_Calloc(1, sizeof(SeldomOfProtocol)));
        if (protocol->seldom == nullptr) PyErr_NoMemory();
    }
    return protocol->seldom;
}

// One of its fields, where there is one.
template <PyObject* SeldomOfProtocol::*kField>
PyObject* seldom(const ReaderProtocol* protocol) noexcept {
    return protocol->seldom != nullptr ? protocol->seldom->*kField : nullptr;
}

template <PyObject* SeldomOfProtocol::*kField>
Ref<> take_seldom(ReaderProtocol* protocol) noexcept {
    if (protocol->seldom == nullptr) return {};
    return Ref<>::steal(std::exchange(protocol->seldom->*kField, nullptr));
}

void forget(ReaderProtocol* protocol) noexcept {
    Py_CLEAR(protocol->reader);
    take_seldom<&SeldomOfProtocol::reader_ref>(protocol);
}

// What a weak reference points to; nothing where that is gone, or about to be.
Ref<> referent(PyObject* reference) noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject* found = nullptr;
    if (PyWeakref_GetRef(reference, &found) < 0) PyErr_Clear();
    return Ref<>::steal(found);
#else
    PyObject* found = PyWeakref_GET_OBJECT(reference);
    return found != Py_None ? Ref<>::borrow(found) : Ref<>();
#endif
}

// The StreamReader whose part we have, where something of ours keeps it alive; borrowed.
PyObject* held_reader(const ReaderProtocol* protocol) noexcept {
    const State* state = state_of_part(protocol);
    PyObject* by_writer =
        protocol->writer != nullptr ? reader_of_writer(state, protocol->writer) : nullptr;
    for (PyObject* held : {protocol->strong_reader, by_writer}) {
        bool is_ours = held != nullptr && Py_TYPE(held) == state->stream_reader;
        if (is_ours && native_part(held) == object(protocol->reader)) return held;
    }
    return nullptr;
}

// The StreamReader of ours, while it lives. Of one that is gone the part is let go.
Ref<> own_reader(ReaderProtocol* protocol) noexcept {
    if (PyObject* held = held_reader(protocol); held != nullptr) return Ref<>::borrow(held);
    PyObject* reference = seldom<&SeldomOfProtocol::reader_ref>(protocol);
    Ref<> found = reference != nullptr ? referent(reference) : Ref<>();
    if (!found) Py_CLEAR(protocol->reader);
    return found;
}

// The part, held: whom it wakes may let it go. Nothing where the StreamReader is gone.
Ref<> living_part(ReaderProtocol* protocol) noexcept {
    PyObject* reference = seldom<&SeldomOfProtocol::reader_ref>(protocol);
    if (reference != nullptr && !own_reader(protocol)) return {};
    return Ref<>::borrow(object(protocol->reader));
}

bool refer_to(ReaderProtocol* protocol, PyObject* reader) noexcept {
    Ref<> reference = Ref<>::steal(PyWeakref_NewRef(reader, nullptr));
    if (!reference || need_seldom(protocol) == nullptr) return false;
    Py_XSETREF(protocol->seldom->reader_ref, reference.release());
    return true;
}

// `reader` is a StreamReader of any make, or None.
bool set_reader(ReaderProtocol* protocol, PyObject* reader) noexcept {
    forget(protocol);
    if (reader == Py_None) return true;
    if (Py_TYPE(reader) != state_of_part(protocol)->stream_reader)
        return refer_to(protocol, reader);
    Reader* part = reader_of(reader);
    if (part == nullptr) return false;
    Py_XSETREF(protocol->reader, as_reader(Py_NewRef(object(part))));
    return held_reader(protocol) != nullptr || refer_to(protocol, reader);
}

// The reader, as a new reference: None where there is none any more; nullptr with an exception set.
PyObject* current_reader(ReaderProtocol* protocol) noexcept {
    if (protocol->reader != nullptr) {
        Ref<> owner = own_reader(protocol);
        return owner ? owner.release() : Py_NewRef(Py_None);
    }
    Ref<> reference = Ref<>::borrow(seldom<&SeldomOfProtocol::reader_ref>(protocol));
    return reference ? PyObject_CallNoArgs(reference.get()) : Py_NewRef(Py_None);
}

// Calls a method of a reader that is not ours, if there is one. False with an exception set.
template <class... Args>
bool tell_stranger(ReaderProtocol* protocol, PyObject* name, Args... args) noexcept {
    Ref<> reader = Ref<>::steal(current_reader(protocol));
    if (!reader || reader.get() == Py_None) return static_cast<bool>(reader);
    return static_cast<bool>(Ref<>::steal(
        PyObject_CallMethodObjArgs(reader.get(), name, static_cast<PyObject*>(args)..., nullptr)));
}

bool data_came(ReaderProtocol* protocol, PyObject* data) noexcept {
    if (protocol->reader == nullptr)
        return tell_stranger(protocol, state_of_part(protocol)->str_feed_data, data);
    Ref<> part = living_part(protocol);
    return !part || feed(as_reader(part.get()), data);
}

bool eof_came(ReaderProtocol* protocol) noexcept {
    if (protocol->reader == nullptr)
        return tell_stranger(protocol, state_of_part(protocol)->str_feed_eof);
    Ref<> part = living_part(protocol);
    return !part || feed_eof(as_reader(part.get()));
}

bool failure_came(ReaderProtocol* protocol, PyObject* exception) noexcept {
    if (protocol->reader == nullptr)
        return tell_stranger(protocol, state_of_part(protocol)->str_set_exception, exception);
    Ref<> part = living_part(protocol);
    return !part || fail_reader(as_reader(part.get()), exception);
}

bool assert_paused(const ReaderProtocol* protocol, bool expected) noexcept {
    if (protocol->is_paused == expected) return true;
    PyErr_SetNone(PyExc_AssertionError);
    return false;
}

bool is_debug(const ReaderProtocol* protocol) noexcept {
    Ref<> loop = Ref<>::borrow(protocol->loop != nullptr ? protocol->loop : Py_None);
    Ref<> answer =
        Ref<>::steal(PyObject_CallMethodNoArgs(loop.get(), state_of_part(protocol)->str_get_debug));
    if (!answer) PyErr_Clear();
    return answer.get() == Py_True;
}

// Those whom _drain_helper() has left in `_drain_waiters`.
bool wake_drainers(ReaderProtocol* protocol, PyObject* exception) noexcept {
    State* state = state_of_part(protocol);
    Ref<> queue = Ref<>::borrow(seldom<&SeldomOfProtocol::drain_waiters>(protocol));
    if (!queue) return true;
    Ref<> waiters = Ref<>::steal(PySequence_List(queue.get()));
    if (!waiters) return false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(waiters.get()); ++i) {
        PyObject* waiter = PyList_GET_ITEM(waiters.get(), i);
        if (!is_pending(state, waiter)) continue;
        Ref<> done = Ref<>::steal(
            exception != Py_None
                ? PyObject_CallMethodOneArg(waiter, state->str_set_exception, exception)
                : PyObject_CallMethodOneArg(waiter, state->str_set_result, Py_None));
        if (!done) return false;
    }
    return true;
}

// `closed` is the future of wait_closed(). What it was lost by is nothing that somebody has to
// retrieve: asyncio's protocol does so itself, as it goes.
bool finish_closed(State* state, PyObject* closed, PyObject* exception) noexcept {
    if (!is_pending(state, closed)) return true;
    if (exception == Py_None)
        return static_cast<bool>(
            Ref<>::steal(PyObject_CallMethodOneArg(closed, state->str_set_result, Py_None)));
    Ref<> set =
        Ref<>::steal(PyObject_CallMethodOneArg(closed, state->str_set_exception, exception));
    return set && Ref<>::steal(PyObject_CallMethod(closed, "exception", nullptr));
}

bool lost(ReaderProtocol* protocol, PyObject* exception) noexcept {
    Ref<> owner = Ref<>::borrow(protocol->owner);
    bool done = exception == Py_None ? eof_came(protocol) : failure_came(protocol, exception);
    if (!done) return false;
    Ref<> closed = Ref<>::borrow(seldom<&SeldomOfProtocol::closed>(protocol));
    if (closed) {
        if (!finish_closed(state_of_part(protocol), closed.get(), exception)) return false;
    } else if (!protocol->was_lost) {
        protocol->was_lost = true;
        // Without memory wait_closed() does not tell by what; all else goes on.
        if (exception != Py_None && need_seldom(protocol) == nullptr) PyErr_Clear();
        if (exception != Py_None && protocol->seldom != nullptr)
            Py_XSETREF(protocol->seldom->lost_by, Py_NewRef(exception));
    }
    protocol->is_lost = true;
    if (protocol->is_paused && !wake_drainers(protocol, exception)) return false;
    forget(protocol);
    Py_CLEAR(protocol->writer);
    Py_CLEAR(protocol->task);
    Py_CLEAR(protocol->transport);
    return true;
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* data_received(PyObject* self, PyObject* data) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return nullptr;
    if (protocol->reader != nullptr && PyBytes_CheckExact(data))
        return none_if(data_came(protocol, data));
    return none_if(tell_stranger(protocol, state_of_part(protocol)->str_feed_data, data));
}

PyObject* eof_received(PyObject* self, PyObject*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return nullptr;
    int keeps_open = protocol->link.on_eof();
    return keeps_open < 0 ? nullptr : PyBool_FromLong(keeps_open);
}

PyObject* pause_writing(PyObject* self, PyObject*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    return none_if(protocol != nullptr && protocol->link.on_pause_writing());
}

PyObject* resume_writing(PyObject* self, PyObject*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    return none_if(protocol != nullptr && protocol->link.on_resume_writing());
}

PyObject* connection_lost(PyObject* self, PyObject* exception) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    return none_if(protocol != nullptr && lost(protocol, exception));
}

// asyncio's retrieves the exception of `_closed` here; see finish_closed().
PyObject* del(PyObject*, PyObject*) { Py_RETURN_NONE; }

// ---- attributes, private in asyncio and yet used -----------------------------------------------

PyObject* get_reader(PyObject* self, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    return protocol != nullptr ? current_reader(protocol) : nullptr;
}

PyObject* get_reader_ref(PyObject* self, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return nullptr;
    if (PyObject* known = seldom<&SeldomOfProtocol::reader_ref>(protocol); known != nullptr)
        return Py_NewRef(known);
    Ref<> reader = protocol->reader != nullptr ? own_reader(protocol) : Ref<>();
    return reader ? PyWeakref_NewRef(reader.get(), nullptr) : Py_NewRef(Py_None);
}

int set_reader_ref(PyObject* self, PyObject* value, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return -1;
    if (value == nullptr || value == Py_None) return forget(protocol), 0;
    Ref<> reader = Ref<>::steal(PyObject_CallNoArgs(value));
    return reader && set_reader(protocol, reader.get()) ? 0 : -1;
}

// Of what may be all that keeps the reader in sight.
template <auto kField>
int set_holder(PyObject* self, PyObject* value, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return -1;
    Ref<> reader = protocol->reader != nullptr ? own_reader(protocol) : Ref<>();
    if (set_part_object<kField>(self, value, nullptr) < 0) return -1;
    bool is_seen = !reader || protocol->reader == nullptr || held_reader(protocol) != nullptr ||
                   seldom<&SeldomOfProtocol::reader_ref>(protocol) != nullptr;
    return is_seen || refer_to(protocol, reader.get()) ? 0 : -1;
}

PyObject* get_closed(PyObject* self, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return nullptr;
    if (need_seldom(protocol) == nullptr) return nullptr;
    if (protocol->seldom->closed == nullptr) {
        Ref<> made = create_future(protocol->loop);
        if (!made) return nullptr;
        Ref<> lost_by = Ref<>::borrow(protocol->seldom->lost_by);
        if (protocol->was_lost &&
            !finish_closed(state_of_part(protocol), made.get(), lost_by ? lost_by.get() : Py_None))
            return nullptr;
        if (protocol->seldom->closed == nullptr) protocol->seldom->closed = made.release();
    }
    return Py_NewRef(protocol->seldom->closed);
}

int set_closed(PyObject* self, PyObject* value, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr || need_seldom(protocol) == nullptr) return -1;
    Py_XSETREF(protocol->seldom->closed, Py_XNewRef(value));
    return 0;
}

PyObject* get_drain_waiters(PyObject* self, void*) {
    ReaderProtocol* protocol = reader_protocol_of(self);
    if (protocol == nullptr) return nullptr;
    if (need_seldom(protocol) == nullptr) return nullptr;
    if (protocol->seldom->drain_waiters == nullptr) {
        Ref<> module = Ref<>::steal(PyImport_ImportModule("collections"));
        Ref<> made =
            Ref<>::steal(module ? PyObject_CallMethod(module.get(), "deque", nullptr) : nullptr);
        if (!made) return nullptr;
        if (protocol->seldom->drain_waiters == nullptr)
            protocol->seldom->drain_waiters = made.release();
    }
    return Py_NewRef(protocol->seldom->drain_waiters);
}

// ---- the type --------------------------------------------------------------------------------

// As it was when it was new, but for what it stands for among a task's callbacks.
void empty(ReaderProtocol* protocol) noexcept {
    Ref<> old[] = {Ref<>::steal(std::exchange(protocol->transport, nullptr)),
                   take_seldom<&SeldomOfProtocol::closed>(protocol),
                   take_seldom<&SeldomOfProtocol::lost_by>(protocol),
                   take_seldom<&SeldomOfProtocol::drain_waiters>(protocol),
                   Ref<>::steal(std::exchange(protocol->client_connected_cb, nullptr)),
                   Ref<>::steal(std::exchange(protocol->strong_reader, nullptr)),
                   Ref<>::steal(std::exchange(protocol->writer, nullptr)),
                   Ref<>::steal(std::exchange(protocol->task, nullptr))};
    protocol->is_paused = protocol->is_lost = protocol->is_over_ssl = protocol->was_lost = false;
}

// ReaderProtocolPart(owner, reader, client_connected_cb, loop)
PyObject* new_protocol(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *owner, *reader, *callback, *loop;
    if (!PyArg_ParseTuple(args, "OOOO", &owner, &reader, &callback, &loop)) return nullptr;
    State* state = state_of_exact_type(type);
    Ref<> made = Ref<>::borrow(part_before(state->stream_reader_protocol, owner));
    if (!made && PyErr_Occurred()) return nullptr;
    if (made)
        empty(as_reader_protocol(made.get()));
    else
        made = Ref<>::steal(type->tp_alloc(type, 0));
    if (!made) return nullptr;
    ReaderProtocol* protocol = as_reader_protocol(made.get());
    new (&protocol->link) ReaderLink();
    protocol->owner = owner;
    Py_XSETREF(protocol->loop, Py_NewRef(loop));
    forget(protocol);
    if (callback != Py_None) {
        Py_XSETREF(protocol->client_connected_cb, Py_NewRef(callback));
        Py_XSETREF(protocol->strong_reader, Py_NewRef(reader));
    }
    return set_reader(protocol, reader) ? made.release() : nullptr;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    ReaderProtocol* protocol = as_reader_protocol(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(protocol->loop);
    Py_VISIT(object(protocol->reader));
    Py_VISIT(protocol->transport);
    Py_VISIT(protocol->handled);
    Py_VISIT(seldom<&SeldomOfProtocol::lost_by>(protocol));
    Py_VISIT(seldom<&SeldomOfProtocol::reader_ref>(protocol));
    Py_VISIT(seldom<&SeldomOfProtocol::closed>(protocol));
    Py_VISIT(seldom<&SeldomOfProtocol::drain_waiters>(protocol));
    Py_VISIT(protocol->client_connected_cb);
    Py_VISIT(protocol->strong_reader);
    Py_VISIT(protocol->writer);
    Py_VISIT(protocol->task);
    return 0;
}

int clear(PyObject* self) {
    ReaderProtocol* protocol = as_reader_protocol(self);
    forget(protocol);
    Py_CLEAR(protocol->loop);
    Py_CLEAR(protocol->transport);
    take_seldom<&SeldomOfProtocol::closed>(protocol);
    Py_CLEAR(protocol->handled);
    take_seldom<&SeldomOfProtocol::lost_by>(protocol);
    take_seldom<&SeldomOfProtocol::drain_waiters>(protocol);
    Py_CLEAR(protocol->client_connected_cb);
    Py_CLEAR(protocol->strong_reader);
    Py_CLEAR(protocol->writer);
    Py_CLEAR(protocol->task);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(as_reader_protocol(self)->seldom);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a StreamReaderProtocol.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_protocol)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.ReaderProtocolPart", sizeof(ReaderProtocol), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

constexpr CoroutineMethod no_coroutines[] = {{nullptr, nullptr}};

PyMethodDef methods[] = {
    {"data_received", data_received, METH_O,
     "data_received($self, data)\n--\n\nHand bytes to the reader."},
    {"eof_received", eof_received, METH_NOARGS,
     "eof_received($self)\n--\n\nTell the reader that no more bytes come; a plain connection stays "
     "open."},
    {"pause_writing", pause_writing, METH_NOARGS, "pause_writing($self)\n--\n\nLet drain() wait."},
    {"resume_writing", resume_writing, METH_NOARGS,
     "resume_writing($self)\n--\n\nLet drain() go on."},
    {"connection_lost", connection_lost, METH_O,
     "connection_lost($self, exc)\n--\n\nTell the reader, drain() and wait_closed()."},
    // By this name a TLS transport calls it.
    {"_lost", connection_lost, METH_O, nullptr},
    {"__del__", del, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"_stream_reader", get_reader, nullptr, nullptr, nullptr},
    {"_stream_reader_wr", get_reader_ref, set_reader_ref, nullptr, nullptr},
    {"_closed", get_closed, set_closed, nullptr, nullptr},
    {"_drain_waiters", get_drain_waiters, nullptr, nullptr, nullptr},
    object_attribute<&ReaderProtocol::loop>("_loop"),
    object_attribute<&ReaderProtocol::transport>("_transport"),
    object_attribute<&ReaderProtocol::client_connected_cb>("_client_connected_cb"),
    {"_strong_reader", get_part_object<&ReaderProtocol::strong_reader>,
     set_holder<&ReaderProtocol::strong_reader>, nullptr, nullptr},
    {"_stream_writer", get_part_object<&ReaderProtocol::writer>,
     set_holder<&ReaderProtocol::writer>, nullptr, nullptr},
    object_attribute<&ReaderProtocol::task>("_task"),
    flag_attribute<&ReaderProtocol::is_paused>("_paused"),
    flag_attribute<&ReaderProtocol::is_lost>("_connection_lost"),
    flag_attribute<&ReaderProtocol::is_over_ssl>("_over_ssl"),
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods stream_reader_protocol_methods = {
    "StreamReaderProtocol",        no_coroutines, methods, attributes, &State::reader_protocol_part,
    &State::stream_reader_protocol};

bool keep_in_sight(ReaderProtocol* protocol) noexcept {
    PyObject* held = protocol->reader != nullptr ? held_reader(protocol) : nullptr;
    bool is_seen = held == nullptr || seldom<&SeldomOfProtocol::reader_ref>(protocol) != nullptr;
    return is_seen || refer_to(protocol, held);
}

// ---- what a transport tells ------------------------------------------------------------------

bool ReaderLink::on_bytes(std::span<const std::byte> bytes) noexcept {
    Ref<> data = Ref<>::steal(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                                        static_cast<Py_ssize_t>(bytes.size())));
    return data && data_came(protocol(), data.get());
}

bool ReaderLink::on_object(PyObject* bytes) noexcept { return data_came(protocol(), bytes); }

int ReaderLink::on_eof() noexcept {
    Ref<> owner = Ref<>::borrow(protocol()->owner);
    return eof_came(protocol()) ? !protocol()->is_over_ssl : -1;
}

bool ReaderLink::on_pause_writing() noexcept {
    if (!assert_paused(protocol(), false)) return false;
    protocol()->is_paused = true;
    if (is_debug(protocol())) log_debug("%r pauses writing", protocol()->owner);
    return true;
}

bool ReaderLink::on_resume_writing() noexcept {
    if (!assert_paused(protocol(), true)) return false;
    Ref<> owner = Ref<>::borrow(protocol()->owner);
    protocol()->is_paused = false;
    if (is_debug(protocol())) log_debug("%r resumes writing", protocol()->owner);
    return wake_drainers(protocol(), Py_None);
}

bool ReaderLink::on_lost(PyObject* exception) noexcept { return lost(protocol(), exception); }

bool add_reader_protocol_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->reader_protocol_part);
}

}  // namespace penstock::py
