// The native part of a StreamReader: what has come and nobody has read yet.
//
// One piece is kept as the bytes object that it came as, and read() hands out that object where it
// asks for as much. Several are joined in a bytearray, which is also what Python code sees as
// `_buffer`: from then on it is the buffer.
#pragma once

#include <span>

#include "futures/layout.h"
#include "py/python.h"
#include "py/ref.h"
#include "py/state.h"
#include "sync/primitive.h"

namespace penstock::py {

struct Reader {
    PyObject_HEAD PyObject* loop;
    PyObject* piece;  // bytes, read up to `start`; or nullptr
    Py_ssize_t start;
    PyObject* joined;     // bytearray, or nullptr; then there is no piece
    PyObject* exception;  // or nullptr, as the next two
    PyObject* transport;
    PyObject* waiter;  // who waits for data: a parked coroutine, or a future
    Py_ssize_t limit;  // bytes
    bool is_eof, is_paused;
};

inline Reader* as_reader(PyObject* part) noexcept { return reinterpret_cast<Reader*>(part); }

// The native part of a StreamReader: as part_of().
inline Reader* reader_of(PyObject* owner) noexcept { return part_of<Reader>(owner); }

// As the statement `raise exception` does, which takes anything, in a coroutine.
void raise_any(PyObject* exception) noexcept;

std::span<const char> buffered(const Reader* reader) noexcept;

// Removes the first `count` bytes. False with an exception set.
bool consume(Reader* reader, Py_ssize_t count) noexcept;
// The same, as a new bytes object.
PyObject* take(Reader* reader, Py_ssize_t count) noexcept;

// As feed_data(): `data` is a bytes object. False with an exception set, as below.
bool feed(Reader* reader, PyObject* data) noexcept;
bool feed_eof(Reader* reader) noexcept;
bool fail_reader(Reader* reader, PyObject* exception) noexcept;

// There is less than the limit again: the transport goes on where it was paused.
bool maybe_resume(Reader* reader) noexcept;
bool resume(Reader* reader) noexcept;

// Lets who waits go on, by None or, where `exception` is one, by that.
bool wake_waiter(Reader* reader, PyObject* exception) noexcept;

// What a StreamWriter of ours has as its reader, borrowed; nullptr of any other.
PyObject* reader_of_writer(const State* state, PyObject* writer) noexcept;

bool add_stream_types(PyObject* module, State* state);
bool add_read_type(PyObject* module, State* state);
bool add_writer_types(PyObject* module, State* state);
bool add_reader_protocol_type(PyObject* module, State* state);

}  // namespace penstock::py
