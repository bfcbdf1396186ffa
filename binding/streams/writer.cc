// StreamWriter: what it writes goes to the transport, which it calls directly where that is ours.
#include "futures/future.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "streams/reader.h"
#include "streams/reader_protocol.h"
#include "sync/coroutine.h"
#include "sync/part_attributes.h"
#include "transport/socket_transport.h"

namespace penstock::py {
namespace {

struct Writer {
    PyObject_HEAD PyObject *transport, *protocol, *reader, *loop;
};

struct Drain : Coroutine {
    PyObject* writer;
    bool has_given_way;
};

Writer* as_writer(PyObject* part) noexcept { return reinterpret_cast<Writer*>(part); }
Drain* as_drain(Coroutine* self) noexcept { return static_cast<Drain*>(self); }

Writer* writer_of(PyObject* owner) noexcept { return part_of<Writer>(owner); }

bool is_native(const Writer* writer) noexcept {
    return Py_TYPE(writer->transport) == state_of_part(writer)->transport;
}

// Held while it is called, in the course of which the writer may be initialised again.
Ref<> transport_of(const Writer* writer) noexcept { return Ref<>::borrow(writer->transport); }

// ---- drain -----------------------------------------------------------------------------------

// What the reader has failed by is raised by drain() too: then it is true. -1 with an exception
// set that is none of the reader's.
int raise_reader_failure(Writer* writer) noexcept {
    if (writer->reader == Py_None) return 0;
    Ref<> exception;
    if (Py_TYPE(writer->reader) == state_of_part(writer)->stream_reader) {
        Reader* reader = reader_of(writer->reader);
        if (reader == nullptr) return -1;
        exception = Ref<>::borrow(reader->exception != nullptr ? reader->exception : Py_None);
    } else {
        Ref<> reader = Ref<>::borrow(writer->reader);
        exception = Ref<>::steal(PyObject_CallMethod(reader.get(), "exception", nullptr));
        if (!exception) return -1;
    }
    if (exception.get() == Py_None) return 0;
    raise_any(exception.get());
    return 1;
}

int is_closing(Writer* writer) noexcept {
    if (is_native(writer)) return as_any_transport(writer->transport)->is_closing;
    Ref<> transport = transport_of(writer);
    Ref<> answer = Ref<>::steal(PyObject_CallMethod(transport.get(), "is_closing", nullptr));
    return answer ? PyObject_IsTrue(answer.get()) : -1;
}

PySendResult wait_for_room(Drain* drain, PyObject** result) noexcept {
    Writer* writer = writer_of(drain->writer);
    if (writer == nullptr) return fail(result);
    State* state = state_of_part(writer);
    if (Py_TYPE(writer->protocol) == state->stream_reader_protocol) {
        ReaderProtocol* protocol = reader_protocol_of(writer->protocol);
        if (protocol == nullptr) return fail(result);
        if (!protocol->is_lost && !protocol->is_paused) return end_with_none(result);
    }
    Ref<> protocol = Ref<>::borrow(writer->protocol);
    Ref<> helper =
        Ref<>::steal(PyObject_CallMethodNoArgs(protocol.get(), state->str__drain_helper));
    return helper ? delegate_to_awaitable(drain, helper.get(), result) : fail(result);
}

PySendResult begin(Coroutine* self, PyObject** result) noexcept {
    Writer* writer = writer_of(as_drain(self)->writer);
    Ref<> part = Ref<>::borrow(object(writer));  // an initialisation meanwhile takes it away
    if (writer == nullptr || raise_reader_failure(writer) != 0) return fail(result);
    int closing = is_closing(writer);
    if (closing < 0) return fail(result);
    // A turn for connection_lost(), without which who writes and drains in a loop would never
    // hear of it.
    if (closing) {
        as_drain(self)->has_given_way = true;
        return give_way(self, result);
    }
    return wait_for_room(as_drain(self), result);
}

PySendResult resume(Coroutine* self, PyObject* value, PyObject* thrown,
                    PyObject** result) noexcept {
    if (thrown != nullptr) return end_with_exception(thrown, result);
    if (!std::exchange(as_drain(self)->has_given_way, false)) return end_with(value, result);
    Py_DECREF(value);
    return wait_for_room(as_drain(self), result);
}

int visit_drain(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_drain(self)->writer);
    return 0;
}

void clear_drain(Coroutine* self) noexcept { Py_CLEAR(as_drain(self)->writer); }

constexpr CoroutineKind kDrain = {.name = "drain",
                                  .qualified_name = "StreamWriter.drain",
                                  .wait_kind = WaitKind::kStream,
                                  .begin = begin,
                                  .resume = resume,
                                  .visit = visit_drain,
                                  .clear = clear_drain,
                                  .withdraw = nullptr,
                                  .free = &State::free_drains};

PyObject* drain(PyObject*, PyObject* const* args, Py_ssize_t, PyObject*) {
    Writer* writer = writer_of(args[0]);
    if (writer == nullptr) return nullptr;
    auto* made = static_cast<Drain*>(
        new_coroutine(state_of_part(writer), state_of_part(writer)->drain, &kDrain));
    if (made == nullptr) return nullptr;
    made->writer = Py_NewRef(args[0]);
    made->has_given_way = false;
    PyObject_GC_Track(object(made));
    return object(made);
}

// ---- methods ---------------------------------------------------------------------------------

PyObject* write(PyObject* self, PyObject* data) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return nullptr;
    Ref<> transport = transport_of(writer);
    if (is_native(writer)) return transport_write(transport.get(), data);
    Ref<> done = Ref<>::steal(
        PyObject_CallMethodOneArg(transport.get(), state_of_part(writer)->str_write, data));
    return done ? Py_NewRef(Py_None) : nullptr;
}

PyObject* writelines(PyObject* self, PyObject* data) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return nullptr;
    Ref<> transport = transport_of(writer);
    if (is_native(writer)) return transport_writelines(transport.get(), data);
    Ref<> done = Ref<>::steal(PyObject_CallMethod(transport.get(), "writelines", "O", data));
    return done ? Py_NewRef(Py_None) : nullptr;
}

template <Name kMethod>
PyObject* call_transport(PyObject* self, PyObject*) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return nullptr;
    return PyObject_CallMethod(transport_of(writer).get(), kMethod.text, nullptr);
}

PyObject* get_extra_info(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static constexpr const char* kNames[] = {"name", "default"};
    PyObject* given[] = {nullptr, Py_None};
    Writer* writer = writer_of(self);
    if (writer == nullptr || !bind({"get_extra_info", kNames, 2, 1}, args, count, names, given))
        return nullptr;
    return PyObject_CallMethod(transport_of(writer).get(), "get_extra_info", "OO", given[0],
                               given[1]);
}

template <PyObject* Writer::*kField>
int set_object(PyObject* self, PyObject* value, void*) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return -1;
    Py_XSETREF(writer->*kField, Py_NewRef(value != nullptr ? value : Py_None));
    return 0;
}

// It may be all that keeps the reader in the protocol's sight.
int set_reader(PyObject* self, PyObject* value, void*) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return -1;
    if (Py_TYPE(writer->protocol) == state_of_part(writer)->stream_reader_protocol) {
        ReaderProtocol* protocol = reader_protocol_of(writer->protocol);
        if (protocol == nullptr || !keep_in_sight(protocol)) return -1;
    }
    return set_object<&Writer::reader>(self, value, nullptr);
}

// A future that is done, which nothing in asyncio reads.
PyObject* get_complete(PyObject* self, void*) {
    Writer* writer = writer_of(self);
    if (writer == nullptr) return nullptr;
    Ref<> future = create_future(writer->loop);
    State* state = state_of_part(writer);
    bool done = future && set_unless_cancelled(state, future.get(), state->str_set_result, Py_None);
    return done ? future.release() : nullptr;
}

// ---- the type --------------------------------------------------------------------------------

// WriterPart(transport, protocol, reader, loop)
PyObject* new_writer(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *transport, *protocol, *reader, *loop;
    if (!PyArg_ParseTuple(args, "OOOO", &transport, &protocol, &reader, &loop)) return nullptr;
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    Writer* writer = as_writer(made);
    writer->transport = Py_NewRef(transport);
    writer->protocol = Py_NewRef(protocol);
    writer->reader = Py_NewRef(reader);
    writer->loop = Py_NewRef(loop);
    return made;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Writer* writer = as_writer(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(writer->transport);
    Py_VISIT(writer->protocol);
    Py_VISIT(writer->reader);
    Py_VISIT(writer->loop);
    return 0;
}

int clear(PyObject* self) {
    Writer* writer = as_writer(self);
    for (PyObject** each : {&writer->transport, &writer->protocol, &writer->reader, &writer->loop})
        Py_SETREF(*each, Py_NewRef(Py_None));
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    Writer* writer = as_writer(self);
    for (PyObject** each : {&writer->transport, &writer->protocol, &writer->reader, &writer->loop})
        Py_CLEAR(*each);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a StreamWriter.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_writer)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.WriterPart", sizeof(Writer), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

constexpr CoroutineMethod coroutines[] = {{"drain", drain}, {nullptr, nullptr}};

PyMethodDef methods[] = {
    {"write", method(one_argument<"write", "data", write>), kFast,
     "write($self, data)\n--\n\nWrite bytes; what the socket doesn't take at once is queued."},
    {"writelines", method(one_argument<"writelines", "data", writelines>), kFast,
     "writelines($self, data)\n--\n\nWrite an iterable of bytes, in one call of the system where "
     "that goes."},
    {"write_eof", call_transport<"write_eof">, METH_NOARGS,
     "write_eof($self)\n--\n\nClose the writing half once what is queued has left."},
    {"can_write_eof", call_transport<"can_write_eof">, METH_NOARGS,
     "can_write_eof($self)\n--\n\nWhether the transport knows write_eof()."},
    {"close", call_transport<"close">, METH_NOARGS,
     "close($self)\n--\n\nClose the connection once what is queued has left."},
    {"is_closing", call_transport<"is_closing">, METH_NOARGS,
     "is_closing($self)\n--\n\nWhether the connection is closed or being closed."},
    {"get_extra_info", method(get_extra_info), kFast,
     "get_extra_info($self, name, default=None)\n--\n\nOptional information of the transport."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"transport", get_part_object<&Writer::transport>, nullptr, nullptr, nullptr},
    {"_transport", get_part_object<&Writer::transport>, set_object<&Writer::transport>, nullptr,
     nullptr},
    {"_protocol", get_part_object<&Writer::protocol>, set_object<&Writer::protocol>, nullptr,
     nullptr},
    {"_reader", get_part_object<&Writer::reader>, set_reader, nullptr, nullptr},
    {"_loop", get_part_object<&Writer::loop>, set_object<&Writer::loop>, nullptr, nullptr},
    {"_complete_fut", get_complete, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods stream_writer_methods = {
    "StreamWriter", coroutines, methods, attributes, &State::writer_part, &State::stream_writer};

PyObject* reader_of_writer(const State* state, PyObject* writer) noexcept {
    if (Py_TYPE(writer) != state->stream_writer) return nullptr;
    PyObject* part = native_part(writer);
    return part != nullptr ? as_writer(part)->reader : nullptr;
}

bool add_writer_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->writer_part) &&
           add_coroutine_type(module, "penstock._core.Drain", sizeof(Drain), state->drain);
}

}  // namespace penstock::py
