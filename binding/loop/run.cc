// Running the loop: what the reactor asks of its host, and how a word is run.
#include "base/fork.h"
#include "futures/future.h"
#include "futures/task.h"
#include "loop/clock.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "loop/slow_call.h"
#include "py/os_error.h"
#include "py/stop_iteration.h"
#include "py/types.h"
#include "sync/deadline.h"
#include "sync/done_callback.h"
#include "sync/sleep.h"

namespace penstock::py {
namespace {

Handle* handle_of(Word word) noexcept { return reinterpret_cast<Handle*>(word & ~kWordKindMask); }
Task* task_of(Word word) noexcept { return reinterpret_cast<Task*>(word & ~kWordKindMask); }
Sleep* sleep_of(Word word) noexcept { return reinterpret_cast<Sleep*>(word & ~kWordKindMask); }
DoneCallback* done_callback_of(Word word) noexcept {
    return reinterpret_cast<DoneCallback*>(word & ~kWordKindMask);
}
Deadline* deadline_of(Word word) noexcept {
    return reinterpret_cast<Deadline*>(word & ~kWordKindMask);
}
Completion* completion_of(Word word) noexcept {
    return reinterpret_cast<Completion*>(word & ~kWordKindMask);
}

WordKind kind_of(Word word) noexcept { return static_cast<WordKind>(word & kWordKindMask); }

bool is_cancelled(Word word) noexcept {
    switch (kind_of(word)) {
        case WordKind::kHandle: return handle_of(word)->is_cancelled;
        case WordKind::kSleep: return is_sleep_over(sleep_of(word));
        case WordKind::kDeadline: return is_void(deadline_of(word));
        default: return false;
    }
}

void run_and_drop(Loop* loop, Word word) noexcept {
    switch (kind_of(word)) {
        case WordKind::kTask: return step_task(loop, task_of(word));
        case WordKind::kHandle: {
            Handle* handle = handle_of(word);
            if (handle->is_timer) {
                handle->is_queued = false;
                if (handle->is_cancelled) loop->reactor->timers().forget_cancelled();
            }
            run_handle(handle);
            return drop_queued(handle);
        }
        case WordKind::kSleep: return finish_sleep(loop, sleep_of(word));
        case WordKind::kDeadline: return finish_deadline(loop, deadline_of(word));
        case WordKind::kCompletion: return completion_of(word)->complete(loop);
        case WordKind::kDone: return run_done_callback(loop, done_callback_of(word));
    }
}

bool is_timed(WordKind kind) noexcept {
    return kind == WordKind::kHandle || kind == WordKind::kTask;
}

// In debug mode every entry is timed that runs the program's code.
void run_timed(Loop* loop, Word word) noexcept {
    if (!is_timed(kind_of(word))) return run_and_drop(loop, word);
    Ref<> what = Ref<>::borrow(reinterpret_cast<PyObject*>(word & ~kWordKindMask));
    TimePoint begin = now();
    run_and_drop(loop, word);
    double seconds = std::chrono::duration<double>(now() - begin).count();
    if (seconds >= loop->slow_callback_duration) report_slow_call(loop, what.get(), seconds);
}

class Host {
public:
    explicit Host(Loop* loop) noexcept : loop_(loop) {}

    void run(Word word) noexcept {
        if (loop_->is_debug) [[unlikely]]
            run_timed(loop_, word);
        else
            run_and_drop(loop_, word);
    }
    bool stopping() const noexcept { return loop_->is_stopping; }
    bool failed() const noexcept { return loop_->failure != nullptr; }

    Duration clock_shift() noexcept { return py::clock_shift(loop_); }

    int wait(Backend& backend, Duration timeout) noexcept {
        forget_returned_value(loop_->state);
        if (timeout == Duration::zero()) return backend.wait(timeout);
        // current_task() of another thread's question is None while nothing runs.
        set_current_task(loop_, nullptr);
        int count;
        Py_BEGIN_ALLOW_THREADS count = backend.wait(timeout);
        Py_END_ALLOW_THREADS return count;
    }

    void wait_failed(int error) noexcept {
        raise_os_error(error, loop_->reactor->backend().failed_call());
        Py_XSETREF(loop_->failure, take_exception());
    }

    bool interrupted() noexcept {
        if (loop_->failure != nullptr) return true;
        if (PyErr_CheckSignals() == 0) return false;
        Py_XSETREF(loop_->failure, take_exception());
        return true;
    }

private:
    Loop* loop_;
};

// The loop may be garbage from now on, and they with it.
void track_queued_handles(Loop* loop) noexcept {
    loop->reactor->visit([](Word word) {
        if (kind_of(word) == WordKind::kHandle) track(handle_of(word));
    });
}

}  // namespace

void count_cancelled_timer(Loop* loop) noexcept {
    if (loop->reactor == nullptr) return;
    loop->reactor->timers().count_cancelled(is_cancelled,
                                            [loop](Word word) { drop_word(loop, word); });
}

std::nullptr_t raise_watch_error(Loop* loop, int error) noexcept {
    return raise_os_error(-error, loop->reactor->backend().failed_call());
}

void push_task_without_room(Loop* loop, Task* task) noexcept {
    // Woken twice it steps once: the second step would find nothing to do.
    if (task->record.wait_kind == WaitKind::kNoRoom) return Py_DECREF(object(task));
    task->record.wait_kind = WaitKind::kNoRoom;
    push_word_without_room(loop, make_word(WordKind::kTask, task));
}

void push_word_without_room(Loop* loop, Word word) noexcept {
    loop->reactor->push_without_room(word, [](Word listed) noexcept -> Word& {
        if (kind_of(listed) == WordKind::kDone) return done_callback_of(listed)->link;
        static_assert(sizeof(TaskRecord::since) == sizeof(Word));
        return reinterpret_cast<Word&>(task_of(listed)->record.since);
    });
}

void drop_word(Loop*, Word word) noexcept {
    if (kind_of(word) == WordKind::kCompletion) return completion_of(word)->drop();
    if (kind_of(word) == WordKind::kHandle) return drop_queued(handle_of(word));
    if (kind_of(word) == WordKind::kDeadline) return drop_deadline(deadline_of(word));
    Py_DECREF(reinterpret_cast<PyObject*>(word & ~kWordKindMask));
}

bool take_failure(Loop* loop) noexcept {
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) &&
        !PyErr_ExceptionMatches(PyExc_SystemExit))
        return false;
    Py_XSETREF(loop->failure, take_exception());
    return true;
}

void report_exception(Loop* loop, const char* message, PyObject* exception,
                      std::initializer_list<std::pair<const char*, PyObject*>> extra) noexcept {
    Ref<> owned = Ref<>::steal(exception);
    Ref<> context = Ref<>::steal(Py_BuildValue("{s:s}", "message", message));
    bool complete = static_cast<bool>(context);
    if (complete && exception != nullptr)
        complete = PyDict_SetItemString(context.get(), "exception", exception) == 0;
    for (const auto& [name, value] : extra)
        if (complete && value != nullptr && value != Py_None)
            complete = PyDict_SetItemString(context.get(), name, value) == 0;
    Ref<> done;
    if (complete)
        done = Ref<>::steal(PyObject_CallMethodOneArg(
            object(loop), loop->state->str_call_exception_handler, context.get()));
    if (!done && !take_failure(loop)) PyErr_WriteUnraisable(object(loop));
}

PyObject* loop_run(PyObject* self, PyObject*) {
    Loop* loop = as_loop(self);
    if (!check_open(loop)) return nullptr;
    if (loop->is_running) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return nullptr;
    }
    State* state = loop->state;
    PyThreadState* thread = PyThreadState_Get();
    if (!loop->scratch.enter(thread)) return nullptr;
    Ref<> held = Ref<>::borrow(self);
    loop->thread = thread;
    loop->is_running = true;
    loop->entered = nullptr;
    loop->anchor = nullptr;
    state->running = loop;
    state->running_thread = thread;
    state->running_process = fork_count();
    ++state->running_loops;
    Host host(loop);
    loop->reactor->run(host);
    set_current_task(loop, nullptr);
    forget_returned_value(state);
    track_queued_handles(loop);
    loop->is_running = false;
    loop->is_stopping = false;
    loop->thread = nullptr;
    if (state->running == loop) {
        // A loop that began before us may be gone by now: asyncio is asked for it.
        state->running = nullptr;
        state->running_thread = nullptr;
    }
    --state->running_loops;
    loop->scratch.leave();
    if (loop->failure != nullptr) {
        raise_exception(std::exchange(loop->failure, nullptr));
        return nullptr;
    }
    Py_RETURN_NONE;
}

}  // namespace penstock::py
