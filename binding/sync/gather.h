// asyncio.gather(): tasks that are made at once, and one future for all of them.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// gather(*coros_or_futures, return_exceptions=False). On a running loop of ours, with coroutines
// and futures that compare by identity; all else asyncio's own function does.
PyObject* gather(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names);

// The types that it needs.
bool add_gather(PyObject* module, State* state);

}  // namespace penstock::py
