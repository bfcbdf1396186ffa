// The native part of an event loop: penstock.Loop derives from it in Python, where the methods
// that are called seldom live.
//
// All of it belongs to the loop's thread and to whoever holds the GIL. The ready queue holds
// strong references; a word's kind says what it points to.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <utility>

#include "futures/layout.h"
#include "py/context.h"
#include "py/python.h"
#include "py/ref.h"
#include "py/state.h"
#include "reactor/reactor.h"
#include "reactor/signals.h"

namespace penstock::py {

struct Handle;
struct Sleep;
class Children;
class FdTable;
class Network;

enum class WordKind : Word {
    kHandle = 0,
    kTask = 1,
    kSleep = 2,
    kCompletion = 3,
    kDone = 4,
    kDeadline = 5
};

inline Word make_word(WordKind kind, void* pointer) noexcept {
    return reinterpret_cast<Word>(pointer) | static_cast<Word>(kind);
}

// Something of ours that other threads or the kernel complete: runs on the loop's thread.
class Completion {
public:
    virtual void complete(Loop* loop) noexcept = 0;  // frees itself
    virtual void drop() noexcept = 0;                // the loop closes first: frees itself
protected:
    ~Completion() = default;
};

struct Loop {
    PyObject_HEAD State* state;
    Reactor* reactor;    // nullptr once closed
    FdTable* fds;        // watched by add_reader() and its like
    Signals* signals;    // made when first asked for
    Network* network;    // transports, accept loops, look-ups
    Children* children;  // made when first asked for
    Scratch scratch;
    PyThreadState* thread;   // while running
    Task* stepping;          // the native task whose step runs now
    void* in_scratch;        // who runs in `scratch`: a Task or a Handle
    PyObject* entered;       // what asyncio.current_task() says, borrowed
    Task* anchor;            // from 3.14: a task in CPython's own list, to link the next one to
    Handle* running_handle;  // borrowed
    PyObject* failure;       // KeyboardInterrupt or SystemExit on its way out of run()
    PyObject* task_factory;
    PyObject* backend_reason;       // a str: why it is this one
    double slow_callback_duration;  // seconds
    Py_hash_t hash;
    PyObject* dict;
    PyObject* weakrefs;
    bool is_running, is_stopping, is_closed, is_debug;
    bool has_own_clock;        // the program's time(), see clock.h
    bool has_own_timers;       // that, or its call_at() or call_later(), which shall see them
    bool is_plain;             // call_soon() is ours: a wake may go to the ready queue directly
    bool has_own_create_task;  // the program's
};

inline Loop* as_loop(PyObject* object) noexcept { return reinterpret_cast<Loop*>(object); }

// Raises RuntimeError and returns false where the loop is closed.
bool check_open(Loop* loop) noexcept;

// Takes over the reference to `task` and lets it run its next step, also where memory is out.
// `loop` is its native loop.
void push_task_without_room(Loop* loop, Task* task) noexcept;
inline void push_task(Loop* loop, Task* task) noexcept {
    if (loop->reactor == nullptr) [[unlikely]] {
        Py_DECREF(object(task));
        return;
    }
    if (!loop->reactor->try_push(make_word(WordKind::kTask, task))) [[unlikely]]
        push_task_without_room(loop, task);
}

// The same for any word that finds no room: its object is in no such list.
void push_word_without_room(Loop* loop, Word word) noexcept;

// Whether all that create_task(coro) does is new_task().
inline bool makes_tasks_natively(const Loop* loop) noexcept {
    return loop->state->native_task && loop->is_plain && !loop->has_own_create_task &&
           loop->task_factory == Py_None && loop->reactor != nullptr;
}

// The backend would not watch an fd: `error` is negative.
std::nullptr_t raise_watch_error(Loop* loop, int error) noexcept;

// The thread that calls a method of the loop. While the loop runs that is its own thread, for
// all methods but call_soon_threadsafe(): reading it costs less than asking for the current one.
inline PyThreadState* current_thread(const Loop* loop) noexcept {
    return loop->thread != nullptr ? loop->thread : PyThreadState_Get();
}

inline std::uint64_t current_task_id(const Loop* loop) noexcept {
    return loop->stepping != nullptr ? loop->stepping->record.id : 0;
}

// False with RuntimeError set where debug mode finds a call from another thread than the one the
// loop runs in.
bool check_thread_in_debug(Loop* loop) noexcept;
inline bool check_thread(Loop* loop) noexcept {
    return !loop->is_debug || check_thread_in_debug(loop);
}

// asyncio.current_task() says `task` (or None) from now on: written where it changes. False where a
// task finds no memory for it, and then it says None; no exception is set.
bool write_current_task(Loop* loop, PyObject* task) noexcept;
inline bool set_current_task(Loop* loop, PyObject* task) noexcept {
    return loop->entered == task || write_current_task(loop, task);
}

// What it says now. Eager tasks of asyncio's own write it too.
Ref<> read_current_task(Loop* loop) noexcept;

// Calls loop.call_exception_handler() with {"message": …, "exception": …} and what `extra`
// (name, value, …, nullptr) adds. Takes over `exception`; nothing is pending afterwards but
// KeyboardInterrupt and SystemExit, which go to loop->failure.
void report_exception(Loop* loop, const char* message, PyObject* exception,
                      std::initializer_list<std::pair<const char*, PyObject*>> extra) noexcept;

// A pending exception that has left a callback: ends the run for KeyboardInterrupt and
// SystemExit (true), else stays pending (false).
bool take_failure(Loop* loop) noexcept;

// `wanted` in its context: calls `call()` with the vars or Context `context` entered. Returns
// false with an exception set where a Context can't be entered. What the call changes stays in
// `context` where `persists`.
template <class Call>
bool run_in_context(Loop* loop, PyObject*& context, bool persists, Call call) noexcept {
    if (is_context(context)) [[unlikely]] {
        if (loop->thread->context == context) {  // a call within a call: we are in it already
            call();
            return true;
        }
        PyObject* entered = Py_NewRef(context);
        bool is_known = loop->state->bare_context;
        if (!enter_context(loop->thread, entered, is_known)) {
            Py_DECREF(entered);
            return false;
        }
        call();
        PyObject* pending = PyErr_Occurred() != nullptr ? take_exception() : nullptr;
        exit_context(loop->thread, entered, is_known);
        if (pending != nullptr) raise_exception(pending);
        Py_DECREF(entered);
        return true;
    }
    loop->scratch.switch_to(context);
    call();
    if (loop->scratch.has_escaped()) [[unlikely]] {
        PyObject* pending = take_exception();
        PyObject* escaped = loop->scratch.replace_escaped();
        if (escaped == nullptr) {
            PyErr_Clear();
        } else if (persists) {
            Py_XSETREF(context, escaped);
        } else {
            Py_DECREF(escaped);
        }
        if (pending != nullptr) raise_exception(pending);
    } else if (persists && !is_context(context) && loop->scratch.vars() != context) {
        Py_XSETREF(context, Py_NewRef(loop->scratch.vars()));
    }
    return true;
}

// One more word in the timer heap is cancelled.
void count_cancelled_timer(Loop* loop) noexcept;

void drop_word(Loop* loop, Word word) noexcept;

// Loop's methods, by file.
PyObject* loop_call_soon(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_call_soon_threadsafe(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                    PyObject* names);
PyObject* loop_call_later(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_call_at(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_time(PyObject* self, PyObject*);
PyObject* loop_create_future(PyObject* self, PyObject*);
PyObject* loop_create_task(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names);
PyObject* loop_set_task_factory(PyObject* self, PyObject* factory);
PyObject* loop_get_task_factory(PyObject* self, PyObject*);
PyObject* loop_run(PyObject* self, PyObject*);

// adopt_hot_methods(subclass) -> subclass: a decorator, see loop.cc.
PyObject* adopt_hot_methods(PyObject* module, PyObject* subclass);

bool add_loop_type(PyObject* module, State* state);

}  // namespace penstock::py
