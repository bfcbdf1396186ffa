#include "futures/probe.h"

#include <cstdlib>
#include <cstring>

#include "futures/site.h"
#include "py/context.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

// Objects in states that only the public API has brought about.
constexpr const char* kObjects = R"(
import _asyncio, contextvars, weakref

class Loop:
    debug = False
    def __init__(self): self.calls = []
    def get_debug(self): return self.debug
    def call_soon(self, callback, *args, context=None): self.calls.append((callback, args))
    def call_exception_handler(self, context): pass

class DebugLoop(Loop):
    debug = True

def callback(*args): pass

async def nothing(): pass

async def wait(future): await future

async def get_cancelled(error): raise error

def error_with_traceback():
    try:
        raise KeyError
    except KeyError as error:
        return error

loop, debug_loop, mark = Loop(), DebugLoop(), object()
variable = contextvars.ContextVar("penstock probe")
context = contextvars.copy_context()
context.run(variable.set, mark)

pending = _asyncio.Future(loop=loop)
pending.add_done_callback(callback, context=context)
pending.add_done_callback(print)
callbacks = pending._callbacks
pending._asyncio_future_blocking = True
pending.attribute = mark
referred = _asyncio.Future(loop=loop)
reference = weakref.ref(referred)
finished = _asyncio.Future(loop=loop)
finished.set_result(mark)
error = error_with_traceback()
failed = _asyncio.Future(loop=loop)
failed.set_exception(error)
cancelled = _asyncio.Future(loop=loop)
cancelled.cancel("why")
traced = _asyncio.Future(loop=debug_loop)

fresh_coro = nothing()
fresh = _asyncio.Task(fresh_coro, loop=loop, name="probe", context=context)
fresh.cancel("why")

def step(task):
    call, args = loop.calls.pop()
    _asyncio._set_running_loop(loop)
    try:
        call(*args)
    finally:
        _asyncio._set_running_loop(None)

awaited = _asyncio.Future(loop=loop)
waiting_coro = wait(awaited)
waiting = _asyncio.Task(waiting_coro, loop=loop, name="probe")
waiting._log_destroy_pending = False
step(waiting)

shared = _asyncio.Future(loop=loop)
sharing_coros = wait(shared), wait(shared)
sharing = [_asyncio.Task(coro, loop=loop, name="probe") for coro in sharing_coros]
for task in sharing:
    step(task)
sharer = sharing[0]

cancellation = __import__("asyncio").CancelledError()
raised = _asyncio.Task(get_cancelled(cancellation), loop=loop, name="probe")
step(raised)

def leave_quietly():
    for task in (fresh, *sharing):
        task._log_destroy_pending = False
    failed.exception()
    for coro in (fresh_coro, waiting_coro, *sharing_coros):
        coro.close()
)";

// No loop runs in this thread and no task, until the end: a program may import us within a task.
class NothingRuns {
public:
    NothingRuns() noexcept
        : asyncio_(Ref<>::steal(PyImport_ImportModule("_asyncio"))),
          loop_(call("_get_running_loop", nullptr)) {
        if (!loop_ || loop_.get() == Py_None) return;
        if (kHas312) task_ = call("_swap_current_task", "OO", loop_.get(), Py_None);
        call("_set_running_loop", "O", Py_None);
    }
    ~NothingRuns() {
        PyObject* pending = PyErr_Occurred() != nullptr ? take_exception() : nullptr;
        if (loop_) call("_set_running_loop", "O", loop_.get());
        if (task_) call("_swap_current_task", "OO", loop_.get(), task_.get());
        PyErr_Clear();
        if (pending != nullptr) raise_exception(pending);
    }
    NothingRuns(const NothingRuns&) = delete;
    NothingRuns& operator=(const NothingRuns&) = delete;

private:
    template <class... Args>
    Ref<> call(const char* function, const char* format, Args... args) noexcept {
        return Ref<>::steal(
            asyncio_ ? PyObject_CallMethod(asyncio_.get(), function, format, args...) : nullptr);
    }

    Ref<> asyncio_;
    Ref<> loop_;
    Ref<> task_;
};

#define PENSTOCK_EXPECT(condition) \
    if (!(condition)) return #condition

class Objects {
public:
    explicit Objects(PyObject* globals) noexcept : globals_(globals) {}
    PyObject* operator[](const char* name) const noexcept {
        return PyDict_GetItemString(globals_, name);
    }
    BaseFuture* future(const char* name) const noexcept { return as_base((*this)[name]); }
    BaseTask* task(const char* name) const noexcept {
        return reinterpret_cast<BaseTask*>((*this)[name]);
    }

private:
    PyObject* globals_;
};

// nullptr, or the first expectation that does not hold.
const char* check_futures(const Objects& objects) noexcept {
    const BaseFuture* pending = objects.future("pending");
    PENSTOCK_EXPECT(pending->loop == objects["loop"]);
    PENSTOCK_EXPECT(pending->callback0 == objects["callback"]);
    PENSTOCK_EXPECT(pending->context0 == objects["context"]);
    PENSTOCK_EXPECT(pending->callbacks != nullptr && PyList_CheckExact(pending->callbacks));
    PENSTOCK_EXPECT(PyList_GET_SIZE(pending->callbacks) == 1);
    PENSTOCK_EXPECT(pending->state == kPending && pending->blocking && !pending->log_tb);
    PENSTOCK_EXPECT(pending->result == nullptr && pending->exception == nullptr);
    PENSTOCK_EXPECT(pending->cancelled_exc == nullptr && pending->cancel_msg == nullptr);
#if PY_VERSION_HEX < 0x030D0000
    PENSTOCK_EXPECT(pending->dict != nullptr && PyDict_CheckExact(pending->dict));
    PENSTOCK_EXPECT(PyDict_GetItemString(pending->dict, "attribute") == objects["mark"]);
    PENSTOCK_EXPECT(pending->weakrefs == nullptr &&
                    objects.future("referred")->weakrefs != nullptr);
#endif
    const BaseFuture* finished = objects.future("finished");
    PENSTOCK_EXPECT(finished->state == kFinished && finished->result == objects["mark"]);
    PENSTOCK_EXPECT(!finished->blocking && finished->callback0 == nullptr);
    const BaseFuture* failed = objects.future("failed");
    PENSTOCK_EXPECT(failed->state == kFinished && failed->log_tb);
    PENSTOCK_EXPECT(failed->exception == objects["error"]);
    Ref<> traceback = Ref<>::steal(PyException_GetTraceback(objects["error"]));
    PENSTOCK_EXPECT(failed->exception_tb == traceback.get());
    const BaseFuture* cancelled = objects.future("cancelled");
    PENSTOCK_EXPECT(cancelled->state == kCancelled && cancelled->cancel_msg != nullptr);
    PENSTOCK_EXPECT(PyUnicode_CompareWithASCIIString(cancelled->cancel_msg, "why") == 0);
    const BaseFuture* traced = objects.future("traced");
    Ref<> source = Ref<>::steal(PyObject_GetAttrString(objects["traced"], "_source_traceback"));
    PENSTOCK_EXPECT(source && traced->source_tb == source.get() && pending->source_tb == nullptr);
    return nullptr;
}

const char* check_tasks(const Objects& objects) noexcept {
    const BaseTask* fresh = objects.task("fresh");
    PENSTOCK_EXPECT(fresh->loop == objects["loop"] && fresh->coro == objects["fresh_coro"]);
    PENSTOCK_EXPECT(fresh->must_cancel && fresh->log_destroy_pending);
    PENSTOCK_EXPECT(fresh->cancels_requested == 1 && fresh->state == kPending);
    PENSTOCK_EXPECT(fresh->name != nullptr && PyUnicode_CheckExact(fresh->name));
    PENSTOCK_EXPECT(PyUnicode_CompareWithASCIIString(fresh->name, "probe") == 0);
    PENSTOCK_EXPECT(fresh->context == objects["context"]);
    PENSTOCK_EXPECT(fresh->cancel_msg != nullptr && PyUnicode_CheckExact(fresh->cancel_msg));
    PENSTOCK_EXPECT(fresh->waiter == nullptr);
    const BaseTask* waiting = objects.task("waiting");
    PENSTOCK_EXPECT(waiting->waiter == objects["awaited"]);
    PENSTOCK_EXPECT(waiting->coro == objects["waiting_coro"]);
    PENSTOCK_EXPECT(!waiting->must_cancel && !waiting->log_destroy_pending);
    PENSTOCK_EXPECT(waiting->cancels_requested == 0);
    const BaseTask* sharer = objects.task("sharer");
    PENSTOCK_EXPECT(!sharer->must_cancel && sharer->log_destroy_pending);
    PENSTOCK_EXPECT(sharer->cancels_requested == 0);
    const BaseTask* raised = objects.task("raised");
    PENSTOCK_EXPECT(raised->state == kCancelled);
    PENSTOCK_EXPECT(raised->cancelled_exc == objects["cancellation"]);
#if PY_VERSION_HEX >= 0x030E0000
    PENSTOCK_EXPECT(waiting->is_task && !objects.future("pending")->is_task);
    const ListNode& node = waiting->node;
    PENSTOCK_EXPECT(node.next != nullptr && node.next->prev == &node);
    PENSTOCK_EXPECT(node.prev != nullptr && node.prev->next == &node);
    PENSTOCK_EXPECT(raised->node.next == nullptr);
    const BaseFuture* awaited = objects.future("awaited");
    PENSTOCK_EXPECT(awaited->awaited_by == objects["waiting"] && !awaited->awaited_by_is_set);
    const BaseFuture* shared = objects.future("shared");
    PENSTOCK_EXPECT(shared->awaited_by_is_set && PySet_CheckExact(shared->awaited_by));
#endif
    return nullptr;
}

const char* check_context(const Objects& objects) noexcept {
    const auto* context = reinterpret_cast<ContextObject*>(objects["context"]);
    PENSTOCK_EXPECT(context->vars != nullptr && context->previous == nullptr && !context->entered);
    PENSTOCK_EXPECT(std::strcmp(Py_TYPE(context->vars)->tp_name, "hamt") == 0);
    PENSTOCK_EXPECT(context->weakrefs == nullptr);
    // A Context of the same vars sees the same values, and entering is what we think it is.
    Ref<> twin = Ref<>::steal(Scratch::context_with(context->vars));
    PENSTOCK_EXPECT(twin);
    Ref<> value = Ref<>::steal(PyObject_GetItem(twin.get(), objects["variable"]));
    PENSTOCK_EXPECT(value.get() == objects["mark"]);
    // In another one, so that there is a previous one.
    Ref<> outer = Ref<>::steal(PyContext_New());
    if (!outer || PyContext_Enter(outer.get()) < 0) return "PyContext_Enter()";
    PyThreadState* thread = PyThreadState_Get();
    const auto* entered = reinterpret_cast<ContextObject*>(twin.get());
    bool is_entered = PyContext_Enter(twin.get()) == 0 && entered->entered &&
                      thread->context == twin.get() && object(entered->previous) == outer.get();
    PyContext_Exit(twin.get());
    bool is_left =
        thread->context == outer.get() && !entered->entered && entered->previous == nullptr;
    PyContext_Exit(outer.get());
    PENSTOCK_EXPECT(is_entered);
    PENSTOCK_EXPECT(is_left);
    return nullptr;
}

#if PY_VERSION_HEX >= 0x030E0000
// Where the thread state keeps the running task: behind its public part, found by its value.
const char* find_running_task(State* state, const Objects& objects) noexcept {
    Ref<> asyncio = Ref<>::steal(PyImport_ImportModule("_asyncio"));
    Ref<> ran =
        Ref<>::steal(PyObject_CallMethod(asyncio.get(), "_set_running_loop", "O", objects["loop"]));
    Ref<> entered = Ref<>::steal(PyObject_CallMethod(asyncio.get(), "_enter_task", "OO",
                                                     objects["loop"], objects["waiting"]));
    auto* thread = reinterpret_cast<char*>(PyThreadState_Get());
    constexpr Py_ssize_t kFarthest = 512;
    Py_ssize_t found = 0, hits = 0;
    for (Py_ssize_t offset = sizeof(PyThreadState);
         offset < Py_ssize_t(sizeof(PyThreadState)) + kFarthest; offset += sizeof(PyObject*)) {
        if (*reinterpret_cast<PyObject**>(thread + offset) != objects["waiting"]) continue;
        found = offset;
        ++hits;
    }
    Ref<> left = Ref<>::steal(PyObject_CallMethod(asyncio.get(), "_leave_task", "OO",
                                                  objects["loop"], objects["waiting"]));
    ran = Ref<>::steal(PyObject_CallMethod(asyncio.get(), "_set_running_loop", "O", Py_None));
    PENSTOCK_EXPECT(entered && left && ran);
    PENSTOCK_EXPECT(hits == 1);
    PENSTOCK_EXPECT(*reinterpret_cast<PyObject**>(thread + found) == nullptr);
    state->running_task_offset = found;
    return nullptr;
}
#endif

// Ctrl-C and its like say nothing of the layout: they end the import.
bool is_interrupted() noexcept {
    return PyErr_Occurred() != nullptr && !PyErr_ExceptionMatches(PyExc_Exception);
}

bool set_reason(State* state, const char* what, const char* expectation) noexcept {
    PyErr_Clear();
    Py_XSETREF(
        state->why_stock,
        PyUnicode_FromFormat("the layout of %s is not the expected one: %s", what, expectation));
    return state->why_stock != nullptr;
}

}  // namespace

bool wants_stock_task() noexcept {
    const char* wish = std::getenv("PENSTOCK_STOCK_TASK");
    return wish != nullptr && *wish != '\0';
}

bool probe_layout(State* state) noexcept {
    state->native_task = false;
    state->bare_context = false;
    if (wants_stock_task()) {
        state->why_stock = PyUnicode_FromString("PENSTOCK_STOCK_TASK is set");
        return state->why_stock != nullptr;
    }
    if (state->base_future->tp_basicsize != sizeof(BaseFuture) ||
        state->base_task->tp_basicsize != sizeof(BaseTask))
        return set_reason(state, "asyncio's Future and Task", "their size");
    NothingRuns aside;
    Ref<> globals = Ref<>::steal(PyDict_New());
    if (!globals || PyDict_SetItemString(globals.get(), "__builtins__", PyEval_GetBuiltins()) < 0)
        return false;
    Ref<> done = Ref<>::steal(PyRun_String(kObjects, Py_file_input, globals.get(), globals.get()));
    if (!done) {
        if (is_interrupted()) return false;
        Ref<> error = Ref<>::steal(take_exception());
        Ref<> text = Ref<>::steal(PyObject_Repr(error.get()));
        const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
        return set_reason(state, "asyncio's Future and Task",
                          utf8 != nullptr ? utf8 : "the probe failed");
    }
    Objects objects(globals.get());
    const char* expectation = check_futures(objects);
    if (expectation == nullptr) expectation = check_tasks(objects);
#if PY_VERSION_HEX >= 0x030E0000
    if (expectation == nullptr) expectation = find_running_task(state, objects);
#endif
    state->native_task = expectation == nullptr;
    probe_frames(state);
    if (is_interrupted()) return false;
    const char* context_expectation = check_context(objects);
    state->bare_context = context_expectation == nullptr;
    Ref<> left = Ref<>::steal(PyObject_CallNoArgs(objects["leave_quietly"]));
    if (is_interrupted()) return false;
    PyErr_Clear();
    PyDict_Clear(globals.get());
    if (expectation != nullptr) return set_reason(state, "asyncio's Future and Task", expectation);
    if (context_expectation != nullptr)
        return set_reason(state, "contextvars.Context", context_expectation);
    return true;
}

}  // namespace penstock::py
