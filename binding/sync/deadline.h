// What a timeout has in the timer heap: an entry that costs neither a handle nor a callback, since
// nearly all of them are void long before they are due.
//
// Who owns what: the heap owns the entry, which holds its owner for as long as it is armed. The
// owner's own pointer to it (`place`) is set for exactly that time.
#pragma once

#include "base/clock.h"
#include "loop/loop.h"
#include "py/ref.h"

namespace penstock::py {

struct Deadline {
    Loop* loop;       // borrowed: the entry is in its heap
    PyObject* owner;  // nullptr once it is void
    Deadline** place;
    // It is due. Lets go of it by take_owner(), or returns false where memory is out, with nothing
    // changed: it is then asked again.
    bool (*expire)(Loop* loop, Deadline* deadline) noexcept;
};

// False with MemoryError set. `place` is nullptr before.
bool arm(Loop* loop, TimePoint when, PyObject* owner, Deadline*& place,
         decltype(Deadline::expire) expire) noexcept;

// Its owner needs it no more. `place` may be nullptr.
void disarm(Deadline*& place) noexcept;

// The owner, whose `place` is free again; the entry is void.
Ref<> take_owner(Deadline* deadline) noexcept;

inline bool is_void(const Deadline* deadline) noexcept { return deadline->owner == nullptr; }

// For the loop: it is due, it is dropped; the entry is gone afterwards, or in the heap again.
void finish_deadline(Loop* loop, Deadline* deadline) noexcept;
void drop_deadline(Deadline* deadline) noexcept;

// A number whose value a double holds: false, without an exception, for any other object.
bool read_seconds(PyObject* value, double& seconds) noexcept;

// What native code can begin, unless asyncio's own has to do it. kFailed with an exception set.
enum class Began { kYes, kNo, kFailed };

// Where a timer's entry may stand in for call_at(): a running loop of ours that steps a task, whose
// timers and clock the program has not replaced, out of debug mode.
Loop* loop_of_deadlines(State* state) noexcept;

}  // namespace penstock::py
