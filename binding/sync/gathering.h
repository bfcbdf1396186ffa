// asyncio.tasks._GatheringFuture: the future of a gather(). cancel() cancels the children, and
// leaves it to them to end it.
#pragma once

#include "futures/layout.h"
#include "py/state.h"

namespace penstock::py {

struct Gathering : BaseFuture {
    PyObject* children;  // a list of futures, an entry for each argument
    std::size_t distinct;
    std::size_t finished;
    bool returns_exceptions;
    bool is_cancel_requested;
};

inline Gathering* as_gathering(PyObject* object) noexcept {
    return reinterpret_cast<Gathering*>(object);
}

// One of `loop`, native and plain, with a list of so many places: both are not tracked yet.
Gathering* new_gathering(Loop* loop, Py_ssize_t count) noexcept;

// The type, which asyncio's own gather() may instantiate too.
bool add_gathering_type(PyObject* module, State* state);

}  // namespace penstock::py
