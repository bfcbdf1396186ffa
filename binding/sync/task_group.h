// asyncio.TaskGroup: what it does for each task is native. What it does once, as it is entered and
// left, and where a task has failed, is asyncio's own code, which finds the same attributes here.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// GroupPart: what a group's Python object keeps in the slot `_native`.
bool add_task_group_types(PyObject* module, State* state);

}  // namespace penstock::py
