// Loop's methods that live in this folder.
#pragma once

#include "loop/loop.h"

namespace penstock::py {

PyObject* loop_make_transport(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              PyObject* names);
PyObject* loop_make_read_pipe_transport(PyObject* self, PyObject* const* args, Py_ssize_t count);
PyObject* loop_make_write_pipe_transport(PyObject* self, PyObject* const* args, Py_ssize_t count);
PyObject* loop_make_tls(PyObject* self, PyObject* const* args, Py_ssize_t count);
PyObject* loop_make_datagram_transport(PyObject* self, PyObject* const* args, Py_ssize_t count);
PyObject* loop_listen(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_unlisten(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_transports_of(PyObject* self, PyObject* server);
PyObject* loop_resolve(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);

bool add_transport_types(PyObject* module, State* state);

}  // namespace penstock::py
