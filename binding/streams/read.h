// StreamReader's coroutines: read(), readline(), readuntil(), readexactly() and `async for`.
#pragma once

#include "py/python.h"
#include "sync/primitive.h"

namespace penstock::py {

extern const CoroutineMethod read_coroutines[];

// A parked one goes on; it raises `exception` where that isn't nullptr.
void wake_read(PyObject* coroutine, PyObject* exception) noexcept;

}  // namespace penstock::py
