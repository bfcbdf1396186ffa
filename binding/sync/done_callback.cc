#include "sync/done_callback.h"

#include <algorithm>
#include <bit>

#include "futures/future.h"
#include "py/ref.h"
#include "py/types.h"

namespace penstock::py {
namespace {

PyObject* take_first(DoneCallback* self) noexcept {
    PyObject* child = self->ring[self->first];
    self->first = (self->first + 1) & (self->capacity - 1);
    --self->count;
    return child;
}

void run(Loop* loop, DoneCallback* self, PyObject* child) noexcept {
    if (self->awaiter != nullptr) discard_awaited_by(as_base(child), self->awaiter);
    self->kind->child_done(loop, self, child);
}

// Where memory was out more children than words are waiting: those have their turn at once.
void run_excess(Loop* loop, DoneCallback* self) noexcept {
    while (self->count > self->words) {
        if (self->expected > 0) --self->expected;
        Ref<> child = Ref<>::steal(take_first(self));
        run(loop, self, child.get());
    }
}

// How the base calls it where it does not know our loop, and whoever calls a Handle's callback.
PyObject* call(PyObject* self, PyObject* args, PyObject* names) {
    DoneCallback* callback = as_done_callback(self);
    State* state = callback->state;
    bool is_one = PyTuple_GET_SIZE(args) == 1 && (names == nullptr || PyDict_GET_SIZE(names) == 0);
    PyObject* child = is_one ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (child == nullptr || !PyObject_TypeCheck(child, state->base_future) ||
        as_base(child)->loop == nullptr || !PyObject_TypeCheck(as_base(child)->loop, state->loop)) {
        PyErr_Format(PyExc_TypeError, "%s() takes a future of its loop",
                     callback->kind->qualified_name);
        return nullptr;
    }
    Ref<> held = Ref<>::borrow(child);
    if (callback->expected > callback->count) --callback->expected;
    run(as_loop(as_base(child)->loop), callback, child);
    Py_RETURN_NONE;
}

PyObject* get_qualified_name(PyObject* self, void*) {
    return PyUnicode_FromString(as_done_callback(self)->kind->qualified_name);
}

// inspect.unwrap() follows it: a repr shows where asyncio's own lies.
PyObject* get_source(PyObject* self, void*) {
    DoneCallback* callback = as_done_callback(self);
    PyObject* source =
        callback->kind->source != nullptr ? callback->state->*(callback->kind->source) : nullptr;
    if (source == nullptr) PyErr_SetString(PyExc_AttributeError, "__wrapped__");
    return Py_XNewRef(source);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    DoneCallback* callback = as_done_callback(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(callback->owner);
    Py_VISIT(callback->part);
    Py_VISIT(callback->awaiter);
    Py_VISIT(callback->context);
    for (std::size_t i = 0; i < callback->count; ++i)
        Py_VISIT(callback->ring[(callback->first + i) & (callback->capacity - 1)]);
    return 0;
}

int clear(PyObject* self) {
    DoneCallback* callback = as_done_callback(self);
    if (callback->kind->forget != nullptr) callback->kind->forget(callback);
    while (callback->count > 0) Py_DECREF(take_first(callback));
    Py_CLEAR(callback->owner);
    Py_CLEAR(callback->part);
    Py_CLEAR(callback->awaiter);
    Py_CLEAR(callback->context);
    return 0;
}

void dealloc(PyObject* self) {
    DoneCallback* callback = as_done_callback(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(callback->ring);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyGetSetDef attributes[] = {{"__qualname__", get_qualified_name, nullptr, nullptr, nullptr},
                            {"__wrapped__", get_source, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("Told by each child that it is done.")},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_call, reinterpret_cast<void*>(call)},
                       {Py_tp_getset, attributes},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.DoneCallback", sizeof(DoneCallback), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                        Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

PyObject* awaiter_from(const State* state, PyObject* task) noexcept {
    bool is_task = kHas314 && task != nullptr && PyObject_TypeCheck(task, state->base_task);
    return is_task ? task : nullptr;
}

DoneCallback* new_done_callback(State* state, const DoneCallbackKind* kind,
                                DoneCallbackHolds holds) noexcept {
    auto* self = PyObject_GC_New(DoneCallback, state->done_callback);
    if (self == nullptr) return nullptr;
    self->state = state;
    self->kind = kind;
    self->owner = Py_XNewRef(holds.owner);
    self->part = Py_XNewRef(holds.part);
    self->awaiter = Py_XNewRef(holds.awaiter);
    self->context = Py_XNewRef(holds.context);
    self->ring = nullptr;
    self->capacity = self->first = self->count = 0;
    self->expected = self->words = 0;
    self->is_linked = false;
    PyObject_GC_Track(object(self));
    return self;
}

bool expect_children(DoneCallback* self, std::size_t more) noexcept {
    std::size_t wanted = self->expected + more;
    if (wanted > self->capacity) [[unlikely]] {
        constexpr std::size_t kFewest = 8;
        std::size_t capacity = std::bit_ceil(std::max(wanted, kFewest));
        PyObject** ring = PyMem_New(PyObject*, capacity);
        if (ring == nullptr) {
            PyErr_NoMemory();
            return false;
        }
        for (std::size_t i = 0; i < self->count; ++i)
            ring[i] = self->ring[(self->first + i) & (self->capacity - 1)];
        PyMem_Free(std::exchange(self->ring, ring));
        self->capacity = capacity;
        self->first = 0;
    }
    self->expected = wanted;
    return true;
}

bool add_to_child(DoneCallback* self, BaseFuture* child) noexcept {
    if (!add_native_callback(child, object(self))) return false;
    Py_INCREF(object(self));
    if (self->awaiter != nullptr) add_awaited_by(child, self->awaiter);
    return true;
}

void put_done_child(DoneCallback* self, PyObject* child) noexcept {
    self->ring[(self->first + self->count) & (self->capacity - 1)] = Py_NewRef(child);
    ++self->count;
}

void run_without_word(Loop* loop, DoneCallback* self) noexcept { run_excess(loop, self); }

bool push_done_child(Loop* loop, DoneCallback* self, PyObject* child) noexcept {
    if (self->count == self->capacity) [[unlikely]]
        return false;
    if (loop->reactor == nullptr) [[unlikely]]
        return true;  // closed: nothing runs any more
    put_done_child(self, child);
    Word word = make_word(WordKind::kDone, self);
    if (loop->reactor->try_push(word)) [[likely]] {
        ++self->words;
        Py_INCREF(object(self));
    } else if (!self->is_linked) {
        // One word in the list is enough: its turn is that of all who have none.
        self->is_linked = true;
        ++self->words;
        Py_INCREF(object(self));
        push_word_without_room(loop, word);
    }
    return true;
}

void run_done_callback(Loop* loop, DoneCallback* self) noexcept {
    if (--self->words == 0) self->is_linked = false;
    run_excess(loop, self);
    Py_DECREF(object(self));
}

bool add_done_callback_type(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->done_callback);
}

}  // namespace penstock::py
