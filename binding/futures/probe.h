// Whether this CPython's Future, Task and Context are laid out as layout.h and context.h say.
#pragma once

#include "py/state.h"

namespace penstock::py {

// Whether PENSTOCK_STOCK_TASK asks for the standard library's Task.
bool wants_stock_task() noexcept;

// Compares every field that we touch with objects in known states. Sets state->native_task and
// state->bare_context, and state->why_stock where one is false. False with an exception only
// where the probe itself can't run, or is interrupted.
bool probe_layout(State* state) noexcept;

}  // namespace penstock::py
