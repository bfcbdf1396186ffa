// What asyncio adds to the task of a connection's handler: a function that closes over the protocol
// and the transport. It is 320 bytes, and its context 64, and hardly anybody looks at it before the
// task is done. Until then it is put off: the StreamReaderProtocol itself stands in its place, with
// the bare variables of the context, and keeps the transport for it.
//
// Who looks at the task's callbacks, and who completes the task, gets the function.
#pragma once

#include "futures/layout.h"
#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// Whether `callback` stands for one that is put off. A context that is no Context is nobody else's.
bool is_put_off(const State* state, PyObject* callback, PyObject* context) noexcept;

// The function, once, as a new reference; nullptr with an exception set: it is still put off.
PyObject* make_handler_callback(State* state, PyObject* protocol) noexcept;

// Puts it in its place among the callbacks of `task`, where it is put off. False with an exception
// set.
bool settle_handler_callback(State* state, BaseFuture* task) noexcept;

// put_off_handler_callback(protocol, transport, task, make) -> bool: whether it was, as is not to
// be where somebody might see it. make(protocol, transport) makes the function; it is the same each
// time.
PyObject* put_off_handler_callback(PyObject* module, PyObject* const* args, Py_ssize_t count);

}  // namespace penstock::py
