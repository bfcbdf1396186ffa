// What stands in the callbacks of the children of one gather() or one TaskGroup: a single object
// for all of them. A child that is done goes into its ring, and a word for it into the ready queue,
// at the very place where asyncio has a Handle; the word's turn takes the oldest from the ring.
//
// Who owns what: each child that is not done holds the callback, so does each word; the callback
// holds its owner, and the children in the ring. Room in the ring is made when a child is added, so
// that none is lost when memory is out as it ends.
#pragma once

#include <cstddef>

#include "futures/layout.h"
#include "loop/loop.h"
#include "py/state.h"
#include "reactor/word.h"

namespace penstock::py {

struct DoneCallback;

struct DoneCallbackKind {
    const char* qualified_name;  // of asyncio's own, for reprs
    PyObject* State::*source;    // the function that it is in asyncio; nullptr for a method
    void (*child_done)(Loop* loop, DoneCallback* self, PyObject* child) noexcept;
    void (*forget)(DoneCallback* self) noexcept;  // it lets go of its owner; may be nullptr
};

struct DoneCallback {
    PyObject_HEAD State* state;
    const DoneCallbackKind* kind;
    PyObject* owner;    // nullptr where it did not come to be
    PyObject* part;     // the owner's native part, where it is not the owner itself
    PyObject* awaiter;  // from 3.14: the task that waits for the children, or nullptr
    PyObject* context;  // vars or Context, for Python code that it calls; nullptr without any
    PyObject** ring;    // a power of two of places
    std::size_t capacity, first, count;
    std::size_t expected;  // children that are added and have not had their turn
    std::size_t words;     // on their way; without room fewer than `count`
    Word link;             // of a word that the ready queue had no room for
    bool is_linked;
};

inline DoneCallback* as_done_callback(PyObject* object) noexcept {
    return reinterpret_cast<DoneCallback*>(object);
}

// What it holds is borrowed, and each may be nullptr. Nullptr with MemoryError set.
struct DoneCallbackHolds {
    PyObject *owner, *part, *awaiter, *context;
};
DoneCallback* new_done_callback(State* state, const DoneCallbackKind* kind,
                                DoneCallbackHolds holds) noexcept;

// `task` where it is one that the call graph knows, which asyncio has from 3.14 on; else nullptr.
PyObject* awaiter_from(const State* state, PyObject* task) noexcept;

// Makes room for so many children more. False with MemoryError set.
bool expect_children(DoneCallback* self, std::size_t more) noexcept;

// Adds it to a future of `loop` that is pending, for which there is room. False with MemoryError
// set.
bool add_to_child(DoneCallback* self, BaseFuture* child) noexcept;

// `child`, for which there is room, is done already: it has its turn with run_without_word(), or
// with a word of its own.
void put_done_child(DoneCallback* self, PyObject* child) noexcept;
void run_without_word(Loop* loop, DoneCallback* self) noexcept;

// A child is done: false where it was never expected, and is to be called as any other callback.
bool push_done_child(Loop* loop, DoneCallback* self, PyObject* child) noexcept;

// A word's turn. Takes over the reference.
void run_done_callback(Loop* loop, DoneCallback* self) noexcept;

bool add_done_callback_type(PyObject* module, State* state);

}  // namespace penstock::py
