#include "streams/read.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "futures/future.h"
#include "loop/loop.h"
#include "py/arguments.h"
#include "py/ref.h"
#include "streams/reader.h"
#include "sync/coroutine.h"

namespace penstock::py {
namespace {

struct Read : Coroutine {
    PyObject* owner;     // the StreamReader
    PyObject* argument;  // as it was given; of read(-1), once it has begun, the list of what came
    Py_ssize_t count;    // as it was given; of readuntil() how far there is no separator
};

// With the 16 bytes that the collector puts before it, pymalloc's class of 112.
static_assert(sizeof(Read) == 96);

Read* as_read(Coroutine* self) noexcept { return static_cast<Read*>(self); }

int visit_read(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_read(self)->owner);
    Py_VISIT(as_read(self)->argument);
    return 0;
}

void clear_read(Coroutine* self) noexcept {
    Py_CLEAR(as_read(self)->owner);
    Py_CLEAR(as_read(self)->argument);
}

Py_ssize_t size(const Reader* reader) noexcept {
    return static_cast<Py_ssize_t>(buffered(reader).size());
}

// The caller waits for more. StreamReader is for one task at a time.
PySendResult wait_for_data(Read* read, Reader* reader, const char* function,
                           PyObject** result) noexcept {
    if (reader->waiter != nullptr) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s() called while another coroutine is already waiting for incoming data",
                     function);
        return fail(result);
    }
    // Paused, it would wait for ever.
    if (reader->is_paused && !resume(reader)) return fail(result);
    Loop* running = running_loop(state_of_part(reader));
    if (may_park(running) && object(running) == reader->loop) [[likely]] {
        Py_XSETREF(reader->waiter, Py_NewRef(object(read)));
        return park(read, result);
    }
    Ref<> future = create_future(reader->loop);
    if (!future) return fail(result);
    Py_XSETREF(reader->waiter, Py_NewRef(future.get()));
    return delegate_to_awaitable(read, future.get(), result);
}

// kGoOn(read, reader, result) takes what there is, or waits.
using GoOn = PySendResult (*)(Read*, Reader*, PyObject**) noexcept;

template <GoOn kGoOn>
PySendResult resume_read(Coroutine* self, PyObject* value, PyObject* thrown,
                         PyObject** result) noexcept {
    Read* read = as_read(self);
    Reader* reader = reader_of(read->owner);
    if (reader != nullptr) Py_CLEAR(reader->waiter);
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    if (reader == nullptr) return fail(result);
    if (Ref<> failure = Ref<>::steal(std::exchange(read->brought, nullptr)); failure)
        return raise_any(failure.get()), fail(result);
    return kGoOn(read, reader, result);
}

bool raise_failure(Reader* reader) noexcept {
    if (reader->exception == nullptr) return false;
    raise_any(Ref<>::borrow(reader->exception).get());
    return true;
}

// Hands out the first `count` bytes.
PySendResult end_with_bytes(Reader* reader, Py_ssize_t count, PyObject** result) noexcept {
    Ref<> bytes = Ref<>::steal(take(reader, count));
    if (!bytes || !maybe_resume(reader)) return fail(result);
    return end_with(bytes.release(), result);
}

PySendResult end_with_nothing(PyObject** result) noexcept {
    return end_with(PyBytes_FromStringAndSize(nullptr, 0), result);
}

// asyncio.IncompleteReadError with all that there is, which is read thereby.
PySendResult end_incomplete(Reader* reader, PyObject* expected, PyObject** result) noexcept {
    Ref<> partial = Ref<>::steal(take(reader, size(reader)));
    Ref<> error = Ref<>::steal(
        partial ? PyObject_CallFunctionObjArgs(state_of_part(reader)->incomplete_read_error,
                                               partial.get(), expected, nullptr)
                : nullptr);
    if (error) raise_any(error.get());
    return fail(result);
}

// ---- read ------------------------------------------------------------------------------------

PySendResult go_on_reading(Read* read, Reader* reader, PyObject** result) noexcept {
    Py_ssize_t there = size(reader);
    if (there == 0 && !reader->is_eof) return wait_for_data(read, reader, "read", result);
    return end_with_bytes(reader, std::min(there, read->count), result);
}

PySendResult join_pieces(Read* read, PyObject** result) noexcept {
    Ref<> empty = Ref<>::steal(PyBytes_FromStringAndSize(nullptr, 0));
    Ref<> joined = Ref<>::steal(
        empty ? PyObject_CallMethod(empty.get(), "join", "O", read->argument) : nullptr);
    return joined ? end_with(joined.release(), result) : fail(result);
}

// All until the end, in pieces of the limit, so that a paused transport goes on meanwhile.
PySendResult go_on_reading_all(Read* read, Reader* reader, PyObject** result) noexcept {
    while (reader->limit > 0) {
        Py_ssize_t there = size(reader);
        if (there == 0 && !reader->is_eof) return wait_for_data(read, reader, "read", result);
        if (there == 0) return join_pieces(read, result);
        Ref<> piece = Ref<>::steal(take(reader, std::min(there, reader->limit)));
        if (!piece || !maybe_resume(reader) || PyList_Append(read->argument, piece.get()) < 0 ||
            raise_failure(reader))
            return fail(result);
    }
    return join_pieces(read, result);  // pieces of nothing are the end
}

PySendResult resume_any_read(Coroutine* self, PyObject* value, PyObject* thrown,
                             PyObject** result) noexcept {
    return as_read(self)->count < 0 ? resume_read<go_on_reading_all>(self, value, thrown, result)
                                    : resume_read<go_on_reading>(self, value, thrown, result);
}

// The number of bytes that was asked for.
bool parse_count(Read* read) noexcept {
    if (read->argument == nullptr) return true;
    read->count = PyNumber_AsSsize_t(read->argument, nullptr);
    Py_CLEAR(read->argument);
    return read->count != -1 || PyErr_Occurred() == nullptr;
}

PySendResult begin_read(Coroutine* self, PyObject** result) noexcept {
    Read* read = as_read(self);
    Reader* reader = reader_of(read->owner);
    if (reader == nullptr || raise_failure(reader) || !parse_count(read)) return fail(result);
    if (read->count == 0) return end_with_nothing(result);
    if (read->count > 0) return go_on_reading(read, reader, result);
    read->argument = PyList_New(0);
    return read->argument != nullptr ? go_on_reading_all(read, reader, result) : fail(result);
}

// ---- readexactly -----------------------------------------------------------------------------

PySendResult go_on_exactly(Read* read, Reader* reader, PyObject** result) noexcept {
    if (size(reader) >= read->count) return end_with_bytes(reader, read->count, result);
    if (!reader->is_eof) return wait_for_data(read, reader, "readexactly", result);
    Ref<> expected = Ref<>::steal(PyLong_FromSsize_t(read->count));
    return expected ? end_incomplete(reader, expected.get(), result) : fail(result);
}

PySendResult begin_exactly(Coroutine* self, PyObject** result) noexcept {
    Read* read = as_read(self);
    Reader* reader = reader_of(read->owner);
    if (reader == nullptr || !parse_count(read)) return fail(result);
    if (read->count < 0) {
        PyErr_SetString(PyExc_ValueError, "readexactly size can not be less than zero");
        return fail(result);
    }
    if (raise_failure(reader)) return fail(result);
    if (read->count == 0) return end_with_nothing(result);
    return go_on_exactly(read, reader, result);
}

// ---- readuntil -------------------------------------------------------------------------------

// The separators of one readuntil(), the shortest first; what they point to is held.
class Separators {
public:
    Separators() = default;
    Separators(const Separators&) = delete;
    Separators& operator=(const Separators&) = delete;
    ~Separators() {
        for (Py_buffer& view : views_) PyBuffer_Release(&view);
    }

    // False with an exception set. From CPython 3.13 on a tuple of several is known.
    bool open(PyObject* given) noexcept {
        try {
            return kHas313 && PyTuple_Check(given) ? open_all(given) : add(given);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return false;
        }
    }

    Py_ssize_t shortest() const noexcept { return views_.front().len; }
    Py_ssize_t longest() const noexcept { return views_.back().len; }

    // The match that ends first, from `offset` on: where it begins and ends, else npos.
    std::pair<std::size_t, std::size_t> find(std::string_view text,
                                             std::size_t offset) const noexcept {
        std::pair<std::size_t, std::size_t> found{std::string_view::npos, std::string_view::npos};
        for (const Py_buffer& view : views_) {
            std::string_view separator(static_cast<const char*>(view.buf),
                                       static_cast<std::size_t>(view.len));
            std::size_t at = text.find(separator, offset);
            if (at != std::string_view::npos && at + separator.size() < found.second)
                found = {at, at + separator.size()};
        }
        return found;
    }

private:
    bool open_all(PyObject* given) {
        if (PyTuple_GET_SIZE(given) == 0) {
            PyErr_SetString(PyExc_ValueError, "Separator should contain at least one element");
            return false;
        }
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(given); ++i)
            if (!add(PyTuple_GET_ITEM(given, i))) return false;
        std::stable_sort(views_.begin(), views_.end(),
                         [](const Py_buffer& a, const Py_buffer& b) { return a.len < b.len; });
        return true;
    }

    bool add(PyObject* separator) {
        views_.reserve(views_.size() + 1);
        Py_buffer view;
        if (PyObject_GetBuffer(separator, &view, PyBUF_SIMPLE) < 0) return false;
        views_.push_back(view);
        if (view.len > 0) return true;
        PyErr_SetString(PyExc_ValueError, "Separator should be at least one-byte string");
        return false;
    }

    std::vector<Py_buffer> views_;
};

// asyncio.LimitOverrunError, set.
void raise_overrun(Reader* reader, const char* message, std::size_t consumed) noexcept {
    Ref<> error =
        Ref<>::steal(PyObject_CallFunction(state_of_part(reader)->limit_overrun_error, "sn",
                                           message, static_cast<Py_ssize_t>(consumed)));
    if (error) raise_any(error.get());
}

constexpr const char* kNotFound = "Separator is not found, and chunk exceed the limit";
constexpr const char* kFoundTooLate = "Separator is found, but chunk is longer than limit";

PySendResult go_on_until(Read* read, Reader* reader, PyObject** result) noexcept {
    Separators separators;
    if (!separators.open(read->argument)) return fail(result);
    std::span<const char> there = buffered(reader);
    auto size = static_cast<Py_ssize_t>(there.size());
    if (size - read->count >= separators.shortest()) {
        auto [start, end] =
            separators.find({there.data(), there.size()}, static_cast<std::size_t>(read->count));
        if (end != std::string_view::npos) {
            if (static_cast<Py_ssize_t>(start) > reader->limit)
                return raise_overrun(reader, kFoundTooLate, start), fail(result);
            return end_with_bytes(reader, static_cast<Py_ssize_t>(end), result);
        }
        // The last bytes may be the start of one.
        read->count = std::max<Py_ssize_t>(0, size + 1 - separators.longest());
        if (read->count > reader->limit)
            return raise_overrun(reader, kNotFound, static_cast<std::size_t>(read->count)),
                   fail(result);
    }
    if (reader->is_eof) return end_incomplete(reader, Py_None, result);
    return wait_for_data(read, reader, "readuntil", result);
}

PySendResult begin_until(Coroutine* self, PyObject** result) noexcept {
    Read* read = as_read(self);
    Reader* reader = reader_of(read->owner);
    Separators separators;
    if (reader == nullptr || !separators.open(read->argument) || raise_failure(reader))
        return fail(result);
    return go_on_until(read, reader, result);
}

// ---- readline --------------------------------------------------------------------------------

// What is over the limit is discarded: the line with its end, or all where the end has not come.
// A ValueError, which comes of a LimitOverrunError.
PySendResult end_long_line(Reader* reader, const char* message, Py_ssize_t length,
                           Py_ssize_t discarded, PyObject** result) noexcept {
    if (!consume(reader, discarded) || !maybe_resume(reader)) return fail(result);
    raise_overrun(reader, message, static_cast<std::size_t>(length));
    Ref<> overrun = Ref<>::steal(take_exception());
    PyErr_SetString(PyExc_ValueError, message);
    Ref<> error = Ref<>::steal(take_exception());
    PyException_SetContext(error.get(), overrun.release());
    return end_with_exception(error.release(), result);
}

PySendResult go_on_line(Read* read, Reader* reader, PyObject** result) noexcept {
    std::span<const char> there = buffered(reader);
    auto size = static_cast<Py_ssize_t>(there.size());
    const void* found = size > read->count
                            ? std::memchr(there.data() + read->count, '\n',
                                          there.size() - static_cast<std::size_t>(read->count))
                            : nullptr;
    if (found != nullptr) {
        Py_ssize_t at = static_cast<const char*>(found) - there.data();
        if (at > reader->limit) return end_long_line(reader, kFoundTooLate, at, at + 1, result);
        return end_with_bytes(reader, at + 1, result);
    }
    read->count = size;
    if (size > reader->limit) return end_long_line(reader, kNotFound, size, size, result);
    if (reader->is_eof) return end_with_bytes(reader, size, result);
    return wait_for_data(read, reader, "readuntil", result);
}

PySendResult begin_line(Coroutine* self, PyObject** result) noexcept {
    Reader* reader = reader_of(as_read(self)->owner);
    if (reader == nullptr || raise_failure(reader)) return fail(result);
    return go_on_line(as_read(self), reader, result);
}

// `async for`: a line that is empty is the end.
PySendResult or_stop(PySendResult sent, PyObject** result) noexcept {
    if (sent != PYGEN_RETURN || PyBytes_GET_SIZE(*result) > 0) return sent;
    Py_CLEAR(*result);
    PyErr_SetNone(PyExc_StopAsyncIteration);
    return PYGEN_ERROR;
}

PySendResult begin_next(Coroutine* self, PyObject** result) noexcept {
    return or_stop(begin_line(self, result), result);
}

PySendResult resume_next(Coroutine* self, PyObject* value, PyObject* thrown,
                         PyObject** result) noexcept {
    return or_stop(resume_read<go_on_line>(self, value, thrown, result), result);
}

// ---- the methods -----------------------------------------------------------------------------

constexpr CoroutineKind read_kind(const char* name, const char* qualified_name,
                                  decltype(CoroutineKind::begin) begin,
                                  decltype(CoroutineKind::resume) resume) noexcept {
    return {.name = name,
            .qualified_name = qualified_name,
            .wait_kind = WaitKind::kStream,
            .begin = begin,
            .resume = resume,
            .visit = visit_read,
            .clear = clear_read,
            .withdraw = nullptr,
            .free = &State::free_reads};
}

constexpr CoroutineKind kRead = read_kind("read", "StreamReader.read", begin_read, resume_any_read);
constexpr CoroutineKind kExactly =
    read_kind("readexactly", "StreamReader.readexactly", begin_exactly, resume_read<go_on_exactly>);
constexpr CoroutineKind kUntil =
    read_kind("readuntil", "StreamReader.readuntil", begin_until, resume_read<go_on_until>);
constexpr CoroutineKind kLine =
    read_kind("readline", "StreamReader.readline", begin_line, resume_read<go_on_line>);
constexpr CoroutineKind kNext =
    read_kind("__anext__", "StreamReader.__anext__", begin_next, resume_next);

PyObject* new_read(PyObject* owner, const CoroutineKind* kind, PyObject* argument,
                   Py_ssize_t count) noexcept {
    Reader* reader = reader_of(owner);
    if (reader == nullptr) return nullptr;
    auto* read =
        static_cast<Read*>(new_coroutine(state_of_part(reader), state_of_part(reader)->read, kind));
    if (read == nullptr) return nullptr;
    read->owner = Py_NewRef(owner);
    read->argument = Py_XNewRef(argument);
    read->count = count;
    PyObject_GC_Track(object(read));
    return object(read);
}

// The only argument beside the object, which may be missing where it is there already.
template <Name kFunction, Name kParameter>
bool parse_argument(PyObject* const* args, Py_ssize_t count, PyObject* names,
                    PyObject*& argument) noexcept {
    if (count == 2 && names == nullptr) [[likely]] {
        argument = args[1];
        return true;
    }
    static constexpr const char* kNames[] = {kParameter.text};
    return bind({kFunction.text, kNames, 1, argument == nullptr ? 1 : 0}, args + 1, count - 1,
                names, {&argument, 1});
}

PyObject* read(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 1 && names == nullptr) return new_read(args[0], &kRead, nullptr, -1);
    PyObject* wanted = nullptr;
    if (!parse_argument<"StreamReader.read", "n">(args, count, names, wanted)) return nullptr;
    return new_read(args[0], &kRead, wanted, 0);
}

PyObject* readexactly(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* wanted = nullptr;
    if (!parse_argument<"StreamReader.readexactly", "n">(args, count, names, wanted))
        return nullptr;
    return new_read(args[0], &kExactly, wanted, 0);
}

PyObject* readuntil(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* separator = state_of(module)->newline;
    if (!parse_argument<"StreamReader.readuntil", "separator">(args, count, names, separator))
        return nullptr;
    return new_read(args[0], &kUntil, separator, 0);
}

template <const CoroutineKind& kKind>
PyObject* without_arguments(PyObject*, PyObject* const* args, Py_ssize_t, PyObject*) {
    return new_read(args[0], &kKind, nullptr, 0);
}

}  // namespace

const CoroutineMethod read_coroutines[] = {{"read", read, -1, true},
                                           {"readexactly", readexactly, -1, true},
                                           {"readuntil", readuntil, -1, true},
                                           {"readline", without_arguments<kLine>, 1, true},
                                           {"__anext__", without_arguments<kNext>, 1, true},
                                           {nullptr, nullptr}};

void wake_read(PyObject* coroutine, PyObject* exception) noexcept {
    Read* read = as_read(as_coroutine(coroutine));
    if (!is_wait_over(read)) Py_XSETREF(read->brought, Py_XNewRef(exception));
    wake(read);
}

bool add_read_type(PyObject* module, State* state) {
    return add_coroutine_type(module, "penstock._core.Read", sizeof(Read), state->read);
}

}  // namespace penstock::py
