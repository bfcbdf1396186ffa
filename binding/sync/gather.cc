#include "sync/gather.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "futures/future.h"
#include "futures/task.h"
#include "loop/loop.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/coroutine.h"
#include "sync/done_callback.h"
#include "sync/gathering.h"

namespace penstock::py {
namespace {

// ---- a child is done --------------------------------------------------------------------------

// asyncio's future.exception(): borrowed, or nullptr. Somebody knows of it from now on.
PyObject* exception_of(BaseFuture* child) noexcept {
    if (child->state != kFinished || child->exception == nullptr) return nullptr;
    child->log_tb = 0;
    return child->exception;
}

// asyncio's future._make_cancelled_error(), or what comes of it where memory is out.
PyObject* make_cancelled_error(const State* state, BaseFuture* child) noexcept {
    raise_cancelled(state, child);
    return take_exception();
}

// What stands for `child` in the list of results: a new reference.
PyObject* outcome_of(const State* state, BaseFuture* child) noexcept {
    if (child->state == kCancelled) {
        bool has_message = child->cancel_msg != nullptr && child->cancel_msg != Py_None;
        if (has_message) return PyObject_CallOneArg(state->cancelled_error, child->cancel_msg);
        return PyObject_CallFunction(state->cancelled_error, "s", "");
    }
    PyObject* exception = exception_of(child);
    return Py_NewRef(exception != nullptr ? exception : child->result);
}

// The child at `index`, or nullptr: the program may have changed `_children`.
BaseFuture* child_at(const State* state, Gathering* outer, Py_ssize_t index) noexcept {
    if (index >= PyList_GET_SIZE(outer->children)) return nullptr;
    PyObject* child = PyList_GET_ITEM(outer->children, index);
    return is_known_future(state, child) && as_base(child)->state != kPending ? as_base(child)
                                                                              : nullptr;
}

// A new list of their results and exceptions; nullptr with an exception set.
Ref<> outcomes_of(const State* state, Gathering* outer) noexcept {
    Py_ssize_t count = PyList_GET_SIZE(outer->children);
    Ref<> results = Ref<>::steal(PyList_New(count));
    for (Py_ssize_t i = 0; results && i < count; ++i) {
        BaseFuture* child = child_at(state, outer, i);
        PyObject* outcome = child != nullptr ? outcome_of(state, child) : Py_NewRef(Py_None);
        if (outcome == nullptr) return {};
        PyList_SET_ITEM(results.get(), i, outcome);
    }
    return results;
}

// All children are done.
void finish(Loop* loop, Gathering* outer) noexcept {
    State* state = loop->state;
    Ref<> results = outcomes_of(state, outer);
    if (!results) return fail_with(loop, object(outer), take_exception());
    BaseFuture* last = outer->is_cancel_requested
                           ? child_at(state, outer, PyList_GET_SIZE(outer->children) - 1)
                           : nullptr;
    if (last != nullptr)
        fail_with(loop, object(outer), make_cancelled_error(state, last));
    else
        complete_with(loop, object(outer), results.release());
}

void child_done(Loop* loop, DoneCallback* self, PyObject* done) noexcept {
    BaseFuture* child = as_base(done);
    Gathering* outer = as_gathering(self->owner);
    if (outer != nullptr) ++outer->finished;
    if (outer == nullptr || outer->state != kPending) {
        exception_of(child);
        return;
    }
    Ref<> held = Ref<>::borrow(object(outer));
    if (!outer->returns_exceptions) {
        if (child->state == kCancelled)
            return fail_with(loop, object(outer), make_cancelled_error(loop->state, child));
        if (PyObject* exception = exception_of(child); exception != nullptr)
            return fail_with(loop, object(outer), Py_NewRef(exception));
    }
    if (outer->finished == outer->distinct) finish(loop, outer);
}

// Empty cells: a function that lacks them crashes where it is called.
bool fill_closure(PyObject* function) noexcept {
    auto* code = reinterpret_cast<PyCodeObject*>(PyFunction_GET_CODE(function));
    Py_ssize_t count = PyCode_GetNumFree(code);
    Ref<> cells = Ref<>::steal(PyTuple_New(count));
    for (Py_ssize_t i = 0; cells && i < count; ++i) {
        PyObject* cell = PyCell_New(nullptr);
        if (cell == nullptr) return false;
        PyTuple_SET_ITEM(cells.get(), i, cell);
    }
    return cells && PyFunction_SetClosure(function, cells.get()) == 0;
}

// What a repr shows of the callback in asyncio: the function within gather(), for its place.
bool find_callback(State* state) noexcept {
    if (!PyFunction_Check(state->stock_gather)) return true;  // somebody has replaced it
    Ref<> constants =
        Ref<>::steal(PyObject_GetAttrString(PyFunction_GET_CODE(state->stock_gather), "co_consts"));
    if (!constants || !PyTuple_Check(constants.get())) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(constants.get()); ++i) {
        PyObject* code = PyTuple_GET_ITEM(constants.get(), i);
        if (!PyCode_Check(code)) continue;
        PyObject* name = reinterpret_cast<PyCodeObject*>(code)->co_name;
        if (PyUnicode_CompareWithASCIIString(name, "_done_callback") != 0) continue;
        state->gather_callback = PyFunction_New(code, PyFunction_GET_GLOBALS(state->stock_gather));
        return state->gather_callback != nullptr && fill_closure(state->gather_callback);
    }
    return true;
}

constexpr DoneCallbackKind kGather = {.qualified_name = "gather.<locals>._done_callback",
                                      .source = &State::gather_callback,
                                      .child_done = child_done,
                                      .forget = nullptr};

// ---- the arguments ----------------------------------------------------------------------------

// Where in the arguments an object was met first.
class FirstPlaces {
public:
    explicit FirstPlaces(std::size_t count) noexcept : capacity_(std::bit_ceil(2 * count)) {
        places_ = capacity_ <= kOnStack ? on_stack_ : PyMem_New(std::uint32_t, capacity_);
        if (places_ != nullptr) std::fill_n(places_, capacity_, kNone);
    }
    FirstPlaces(const FirstPlaces&) = delete;
    FirstPlaces& operator=(const FirstPlaces&) = delete;
    ~FirstPlaces() {
        if (places_ != on_stack_) PyMem_Free(places_);
    }

    bool has_memory() const noexcept { return places_ != nullptr; }

    // Of args[index]: `index` where it was not met before.
    std::uint32_t find(PyObject* const* args, std::uint32_t index) noexcept {
        constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15;
        auto address = reinterpret_cast<std::uintptr_t>(args[index]);
        std::size_t slot = (address * kMix >> 32) & (capacity_ - 1);
        while (places_[slot] != kNone) {
            if (args[places_[slot]] == args[index]) return places_[slot];
            slot = (slot + 1) & (capacity_ - 1);
        }
        places_[slot] = index;
        return index;
    }

private:
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::size_t kOnStack = 256;

    std::size_t capacity_;
    std::uint32_t* places_;
    std::uint32_t on_stack_[kOnStack];
};

// Coroutines of other makes that asyncio takes for such, where no method of theirs is asked whether
// two of them are the same.
bool is_foreign_coroutine(const State* state, PyObject* candidate) noexcept {
    PyTypeObject* type = Py_TYPE(candidate);
    return type->tp_hash == PyBaseObject_Type.tp_hash &&
           type->tp_richcompare == PyBaseObject_Type.tp_richcompare &&
           PySet_Contains(state->coroutine_types, object(type)) > 0;
}

bool is_coroutine(const State* state, PyObject* candidate) noexcept {
    return PyCoro_CheckExact(candidate) || is_native_coroutine(candidate) ||
           is_foreign_coroutine(state, candidate);
}

bool are_all_plain(Loop* loop, PyObject* const* args, Py_ssize_t count) noexcept {
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* arg = args[i];
        bool is_plain = is_known_future(loop->state, arg) ? as_base(arg)->loop == object(loop)
                                                          : is_coroutine(loop->state, arg);
        if (!is_plain) return false;
    }
    return true;
}

// False where there is anything else than a plain `return_exceptions`.
bool read_return_exceptions(const State* state, PyObject* const* args, Py_ssize_t count,
                            PyObject* names, bool& value) noexcept {
    value = false;
    if (names == nullptr) return true;
    Keywords given(args, count, names);
    if (given.count() != 1 || !given.is(0, state->str_return_exceptions) ||
        !PyBool_Check(given.value(0)))
        return false;
    value = given.value(0) == Py_True;
    return true;
}

// ---- the children -----------------------------------------------------------------------------

// The future for `arg`, which the callback is added to: a new reference, nullptr with an exception
// set.
PyObject* make_child(Loop* loop, DoneCallback* callback, PyObject* arg) noexcept {
    Ref<> child;
    if (is_known_future(loop->state, arg)) {
        child = Ref<>::borrow(arg);
        if (as_base(arg)->state != kPending) {
            // From 3.12 on their turn is before gather() returns.
            if (kHas312)
                put_done_child(callback, arg);
            else
                push_done_child(loop, callback, arg);
            return child.release();
        }
    } else {
        child = Ref<>::steal(new_task(loop, arg, nullptr, nullptr, false));
        if (!child) return nullptr;
        as_task(child.get())->log_destroy_pending = 0;  // nobody could have kept it
    }
    return add_to_child(callback, as_base(child.get())) ? child.release() : nullptr;
}

bool make_children(Loop* loop, DoneCallback* callback, Gathering* outer, PyObject* const* args,
                   Py_ssize_t count) noexcept {
    FirstPlaces places(static_cast<std::size_t>(count));
    if (!places.has_memory() || !expect_children(callback, static_cast<std::size_t>(count))) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
        Py_ssize_t first = places.find(args, static_cast<std::uint32_t>(i));
        PyObject* child = first != i ? Py_NewRef(PyList_GET_ITEM(outer->children, first))
                                     : make_child(loop, callback, args[i]);
        if (child == nullptr) return false;
        PyList_SET_ITEM(outer->children, i, child);
        if (first == i) ++outer->distinct;
    }
    return true;
}

}  // namespace

PyObject* gather(PyObject* module, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    State* state = state_of(module);
    Loop* loop = running_loop(state);
    bool returns_exceptions;
    if (count == 0 || loop == nullptr || loop->is_debug || !makes_tasks_natively(loop) ||
        !read_return_exceptions(state, args, count, names, returns_exceptions) ||
        !are_all_plain(loop, args, count))
        return PyObject_Vectorcall(state->stock_gather, args, static_cast<std::size_t>(count),
                                   names);
    Gathering* outer = new_gathering(loop, count);
    if (outer == nullptr) return nullptr;
    Ref<> made = Ref<>::steal(object(outer));
    outer->returns_exceptions = returns_exceptions;
    Ref<> current = kHas314 ? read_current_task(loop) : Ref<>();
    Ref<DoneCallback> callback =
        Ref<DoneCallback>::steal(new_done_callback(state, &kGather,
                                                   {.owner = object(outer),
                                                    .part = nullptr,
                                                    .awaiter = awaiter_from(state, current.get()),
                                                    .context = nullptr}));
    bool is_whole = callback && make_children(loop, callback.get(), outer, args, count);
    PyObject_GC_Track(outer->children);
    PyObject_GC_Track(made.get());
    if (!is_whole) {
        if (callback) Py_CLEAR(callback->owner);
        return nullptr;
    }
    run_without_word(loop, callback.get());
    return made.release();
}

bool add_gather(PyObject* module, State* state) {
    return (!state->native_task || add_gathering_type(module, state)) &&
           add_done_callback_type(module, state) && find_callback(state);
}

}  // namespace penstock::py
