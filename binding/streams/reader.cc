#include "streams/reader.h"

#include <cstring>

#include "futures/future.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "streams/read.h"
#include "streams/reader_protocol.h"
#include "sync/part_attributes.h"
#include "transport/transport.h"

namespace penstock::py {
namespace {

Py_ssize_t size(const Reader* reader) noexcept {
    return static_cast<Py_ssize_t>(buffered(reader).size());
}

// What is there becomes a bytearray, if it is none yet.
bool join(Reader* reader) noexcept {
    if (reader->joined != nullptr) return true;
    std::span<const char> left = buffered(reader);
    reader->joined =
        PyByteArray_FromStringAndSize(left.data(), static_cast<Py_ssize_t>(left.size()));
    if (reader->joined == nullptr) return false;
    Py_CLEAR(reader->piece);
    reader->start = 0;
    return true;
}

bool append(Reader* reader, PyObject* data) noexcept {
    if (reader->joined == nullptr && reader->piece == nullptr) {
        reader->piece = Py_NewRef(data);
        reader->start = 0;
        return true;
    }
    if (!join(reader)) return false;
    Py_ssize_t before = PyByteArray_GET_SIZE(reader->joined);
    Py_ssize_t more = PyBytes_GET_SIZE(data);
    if (PyByteArray_Resize(reader->joined, before + more) < 0) return false;
    std::memcpy(PyByteArray_AS_STRING(reader->joined) + before, PyBytes_AS_STRING(data),
                static_cast<std::size_t>(more));
    return true;
}

// Above twice the limit. A transport that can't be paused is forgotten, so that it is asked once.
bool maybe_pause(Reader* reader) noexcept {
    if (reader->transport == nullptr || reader->is_paused || size(reader) <= 2 * reader->limit)
        return true;
    Ref<> transport = Ref<>::borrow(reader->transport);
    Ref<> done = Ref<>::steal(
        PyObject_CallMethodNoArgs(transport.get(), state_of_part(reader)->str_pause_reading));
    if (done) {
        reader->is_paused = true;
        return true;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) return false;
    PyErr_Clear();
    Py_CLEAR(reader->transport);
    return true;
}

// Anything that bytearray.extend() takes.
Ref<> bytes_of(PyObject* data) noexcept {
    return PyBytes_CheckExact(data) ? Ref<>::borrow(data) : Ref<>::steal(PyBytes_FromObject(data));
}

PyObject* feed_data(PyObject* self, PyObject* data) {
    Reader* reader = reader_of(self);
    if (reader == nullptr) return nullptr;
    if (reader->is_eof) {
        PyErr_SetString(PyExc_AssertionError, "feed_data after feed_eof");
        return nullptr;
    }
    int has_data = PyObject_IsTrue(data);
    if (has_data <= 0) return none_if(has_data == 0);
    Ref<> bytes = bytes_of(data);
    return none_if(bytes && feed(reader, bytes.get()));
}

PyObject* feed_eof_method(PyObject* self, PyObject*) {
    Reader* reader = reader_of(self);
    return none_if(reader != nullptr && feed_eof(reader));
}

PyObject* at_eof(PyObject* self, PyObject*) {
    Reader* reader = reader_of(self);
    return reader != nullptr ? PyBool_FromLong(reader->is_eof && size(reader) == 0) : nullptr;
}

PyObject* exception(PyObject* self, PyObject*) {
    Reader* reader = reader_of(self);
    if (reader == nullptr) return nullptr;
    return Py_NewRef(reader->exception != nullptr ? reader->exception : Py_None);
}

PyObject* set_exception(PyObject* self, PyObject* exception) {
    Reader* reader = reader_of(self);
    return none_if(reader != nullptr && fail_reader(reader, exception));
}

PyObject* set_transport(PyObject* self, PyObject* transport) {
    Reader* reader = reader_of(self);
    if (reader == nullptr) return nullptr;
    if (reader->transport != nullptr) {
        PyErr_SetString(PyExc_AssertionError, "Transport already set");
        return nullptr;
    }
    reader->transport = transport != Py_None ? Py_NewRef(transport) : nullptr;
    Py_RETURN_NONE;
}

PyObject* maybe_resume_transport(PyObject* self, PyObject*) {
    Reader* reader = reader_of(self);
    return none_if(reader != nullptr && maybe_resume(reader));
}

PyObject* wakeup_waiter(PyObject* self, PyObject*) {
    Reader* reader = reader_of(self);
    return none_if(reader != nullptr && wake_waiter(reader, nullptr));
}

// ---- attributes, private in asyncio and yet used -----------------------------------------------

PyObject* get_buffer(PyObject* self, void*) {
    Reader* reader = reader_of(self);
    return reader != nullptr && join(reader) ? Py_NewRef(reader->joined) : nullptr;
}

int set_buffer(PyObject* self, PyObject* value, void*) {
    Reader* reader = reader_of(self);
    if (reader == nullptr) return -1;
    if (value == nullptr || !PyByteArray_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "_buffer must be a bytearray");
        return -1;
    }
    Py_CLEAR(reader->piece);
    Py_XSETREF(reader->joined, Py_NewRef(value));
    return 0;
}

// Any number that sizes may be compared with; what is too large is no limit.
bool read_limit(PyObject* value, Py_ssize_t& limit) noexcept {
    constexpr Py_ssize_t kNone = PY_SSIZE_T_MAX / 2;
    if (PyFloat_Check(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        limit = number < static_cast<double>(kNone)
                    ? static_cast<Py_ssize_t>(std::max(number, number > 0 ? 1.0 : -1.0))
                    : kNone;
        return true;
    }
    limit = std::min(PyNumber_AsSsize_t(value, nullptr), kNone);
    return limit != -1 || PyErr_Occurred() == nullptr;
}

PyObject* get_limit(PyObject* self, void*) {
    Reader* reader = reader_of(self);
    return reader != nullptr ? PyLong_FromSsize_t(reader->limit) : nullptr;
}

int set_limit(PyObject* self, PyObject* value, void*) {
    Reader* reader = reader_of(self);
    if (reader == nullptr || !check_not_deleted(value)) return -1;
    return read_limit(value, reader->limit) ? 0 : -1;
}

// ---- the type --------------------------------------------------------------------------------

PyObject* new_part(PyTypeObject* type, Py_ssize_t limit, PyObject* loop) noexcept {
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    Reader* reader = as_reader(made);
    reader->loop = Py_NewRef(loop);
    reader->limit = limit;
    return made;
}

// As it was when it was new.
void empty(Reader* reader, Py_ssize_t limit, PyObject* loop) noexcept {
    Ref<> old[] = {Ref<>::steal(std::exchange(reader->loop, Py_NewRef(loop))),
                   Ref<>::steal(std::exchange(reader->piece, nullptr)),
                   Ref<>::steal(std::exchange(reader->joined, nullptr)),
                   Ref<>::steal(std::exchange(reader->exception, nullptr)),
                   Ref<>::steal(std::exchange(reader->transport, nullptr)),
                   Ref<>::steal(std::exchange(reader->waiter, nullptr))};
    reader->start = 0;
    reader->limit = limit;
    reader->is_eof = reader->is_paused = false;
}

// ReaderPart(owner, limit, loop)
PyObject* new_reader(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *owner, *limit_given, *loop;
    if (!PyArg_ParseTuple(args, "OOO", &owner, &limit_given, &loop)) return nullptr;
    Py_ssize_t limit;
    if (!read_limit(limit_given, limit)) return nullptr;
    PyObject* before = part_before(state_of_exact_type(type)->stream_reader, owner);
    if (before == nullptr && PyErr_Occurred()) return nullptr;
    if (before == nullptr) return new_part(type, limit, loop);
    empty(as_reader(before), limit, loop);
    return Py_NewRef(before);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Reader* reader = as_reader(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(reader->loop);
    Py_VISIT(reader->joined);
    Py_VISIT(reader->exception);
    Py_VISIT(reader->transport);
    Py_VISIT(reader->waiter);
    return 0;
}

int clear(PyObject* self) {
    Reader* reader = as_reader(self);
    Py_CLEAR(reader->loop);
    Py_CLEAR(reader->joined);
    Py_CLEAR(reader->exception);
    Py_CLEAR(reader->transport);
    Py_CLEAR(reader->waiter);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    Reader* reader = as_reader(self);
    clear(self);
    Py_CLEAR(reader->piece);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a StreamReader.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_reader)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.ReaderPart", sizeof(Reader), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

PyMethodDef methods[] = {
    {"feed_data", method(one_argument<"feed_data", "data", feed_data>), kFast,
     "feed_data($self, data)\n--\n\nAppend bytes to what can be read."},
    {"feed_eof", feed_eof_method, METH_NOARGS,
     "feed_eof($self)\n--\n\nTell that no more bytes come."},
    {"at_eof", at_eof, METH_NOARGS,
     "at_eof($self)\n--\n\nReturn True if the buffer is empty and 'feed_eof' was called."},
    {"exception", exception, METH_NOARGS,
     "exception($self)\n--\n\nWhat every read raises from now on, or None."},
    {"set_exception", method(one_argument<"set_exception", "exc", set_exception>), kFast,
     "set_exception($self, exc)\n--\n\nLet every read raise `exc`, the one that waits too."},
    {"set_transport", method(one_argument<"set_transport", "transport", set_transport>), kFast,
     "set_transport($self, transport)\n--\n\nWhat is paused while too much is unread."},
    {"_maybe_resume_transport", maybe_resume_transport, METH_NOARGS, nullptr},
    {"_wakeup_waiter", wakeup_waiter, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {{"_buffer", get_buffer, set_buffer, nullptr, nullptr},
                            {"_limit", get_limit, set_limit, nullptr, nullptr},
                            flag_attribute<&Reader::is_eof>("_eof"),
                            flag_attribute<&Reader::is_paused>("_paused"),
                            object_attribute<&Reader::exception>("_exception"),
                            object_attribute<&Reader::loop>("_loop"),
                            object_attribute<&Reader::transport>("_transport"),
                            object_attribute<&Reader::waiter>("_waiter"),
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods stream_reader_methods = {
    "StreamReader", read_coroutines, methods, attributes, &State::reader, &State::stream_reader};

void raise_any(PyObject* exception) noexcept {
    Ref<> made = PyExceptionClass_Check(exception) ? Ref<>::steal(PyObject_CallNoArgs(exception))
                                                   : Ref<>::borrow(exception);
    if (!made) return;
    if (!PyExceptionInstance_Check(made.get()))
        return PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    PyErr_SetObject(object(Py_TYPE(made.get())), made.get());
    if (!PyErr_GivenExceptionMatches(made.get(), PyExc_StopIteration)) return;
    PyErr_Clear();
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    PyObject* error = take_exception();
    PyException_SetCause(error, Py_NewRef(made.get()));
    PyException_SetContext(error, made.release());
    raise_exception(error);
}

std::span<const char> buffered(const Reader* reader) noexcept {
    if (reader->piece != nullptr)
        return {PyBytes_AS_STRING(reader->piece) + reader->start,
                static_cast<std::size_t>(PyBytes_GET_SIZE(reader->piece) - reader->start)};
    if (reader->joined == nullptr) return {};
    return {PyByteArray_AS_STRING(reader->joined),
            static_cast<std::size_t>(PyByteArray_GET_SIZE(reader->joined))};
}

bool consume(Reader* reader, Py_ssize_t count) noexcept {
    if (reader->piece != nullptr) {
        reader->start += count;
        if (reader->start == PyBytes_GET_SIZE(reader->piece)) Py_CLEAR(reader->piece);
        return true;
    }
    if (reader->joined == nullptr || count == 0) return true;
    bool is_seen = Py_REFCNT(reader->joined) > 1;
    if (!is_seen && count == PyByteArray_GET_SIZE(reader->joined)) {
        Py_CLEAR(reader->joined);  // an idle connection shall have no buffer
        return true;
    }
    return PySequence_DelSlice(reader->joined, 0, count) == 0;
}

PyObject* take(Reader* reader, Py_ssize_t count) noexcept {
    bool is_whole =
        reader->piece != nullptr && reader->start == 0 && count == PyBytes_GET_SIZE(reader->piece);
    if (is_whole) return std::exchange(reader->piece, nullptr);
    Ref<> taken = Ref<>::steal(PyBytes_FromStringAndSize(buffered(reader).data(), count));
    return taken && consume(reader, count) ? taken.release() : nullptr;
}

bool feed(Reader* reader, PyObject* data) noexcept {
    if (reader->is_eof) {
        PyErr_SetString(PyExc_AssertionError, "feed_data after feed_eof");
        return false;
    }
    if (PyBytes_GET_SIZE(data) == 0) return true;
    return append(reader, data) && wake_waiter(reader, nullptr) && maybe_pause(reader);
}

bool feed_eof(Reader* reader) noexcept {
    reader->is_eof = true;
    return wake_waiter(reader, nullptr);
}

bool fail_reader(Reader* reader, PyObject* exception) noexcept {
    Py_XSETREF(reader->exception, exception != Py_None ? Py_NewRef(exception) : nullptr);
    return wake_waiter(reader, exception);
}

bool resume(Reader* reader) noexcept {
    reader->is_paused = false;
    Ref<> transport = Ref<>::borrow(reader->transport != nullptr ? reader->transport : Py_None);
    return static_cast<bool>(Ref<>::steal(
        PyObject_CallMethodNoArgs(transport.get(), state_of_part(reader)->str_resume_reading)));
}

bool maybe_resume(Reader* reader) noexcept {
    if (!reader->is_paused || size(reader) > reader->limit) [[likely]]
        return true;
    return resume(reader);
}

namespace {

// What a future raises that is given `exception`, be that a class or what none takes; nothing with
// an exception set.
Ref<> raised_by_future(Reader* reader, PyObject* exception) noexcept {
    if (PyExceptionInstance_Check(exception) &&
        !PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)) [[likely]]
        return Ref<>::borrow(exception);
    Ref<> future = create_future(reader->loop);
    if (!future) return {};
    Ref<> done = Ref<>::steal(PyObject_CallMethodOneArg(
        future.get(), state_of_part(reader)->str_set_exception, exception));
    return Ref<>::steal(done ? PyObject_CallMethod(future.get(), "exception", nullptr) : nullptr);
}

}  // namespace

bool wake_waiter(Reader* reader, PyObject* exception) noexcept {
    Ref<> waiter = Ref<>::steal(std::exchange(reader->waiter, nullptr));
    if (!waiter) return true;
    if (Py_TYPE(waiter.get()) == state_of_part(reader)->read) {
        Ref<> raised = exception != nullptr ? raised_by_future(reader, exception) : Ref<>();
        if (exception != nullptr && !raised) return false;
        wake_read(waiter.get(), raised.get());
        return true;
    }
    State* state = state_of_part(reader);
    return exception != nullptr
               ? set_unless_cancelled(state, waiter.get(), state->str_set_exception, exception)
               : set_unless_cancelled(state, waiter.get(), state->str_set_result, Py_None);
}

bool add_stream_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->reader) && add_read_type(module, state) &&
           add_reader_protocol_type(module, state) && add_writer_types(module, state);
}

}  // namespace penstock::py
