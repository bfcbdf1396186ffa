// The end of objects that may hold one another in long chains: past a certain depth CPython puts
// an object by, and frees it once the stack has unwound. From 3.14 on it does so for every type by
// itself.
#pragma once

#include "py/python.h"
#include "py/state.h"

namespace penstock::py {

// `clear()` lets go of all that `self` holds. False where self has been put by: `dealloc`, the
// caller and tp_dealloc of self's own type, is called again for it. Until then it must be untracked
// and in no list where somebody might find it.
//
// CPython's own count of the depth costs 10 ns an object, a tenth of a future's life. So ours is
// asked first, and only chains pay for CPython's.
template <class Clear>
bool clear_in_trashcan([[maybe_unused]] State* state, [[maybe_unused]] PyObject* self,
                       [[maybe_unused]] destructor dealloc, Clear clear) noexcept {
#if PY_VERSION_HEX < 0x030E0000
    constexpr unsigned kDepth = 50;  // CPython's, below 3.13
    if (state->clearing_depth >= kDepth) [[unlikely]] {
        bool is_clear = false;
        Py_TRASHCAN_BEGIN(self, dealloc);
        clear();
        is_clear = true;
        Py_TRASHCAN_END;
        return is_clear;
    }
    ++state->clearing_depth;
    clear();
    --state->clearing_depth;
#else
    clear();
#endif
    return true;
}

}  // namespace penstock::py
