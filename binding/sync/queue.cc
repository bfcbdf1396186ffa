// asyncio.Queue, PriorityQueue and LifoQueue.
//
// The items are in a deque or a list that Python code may see as `_queue`. Of the three classes
// themselves they are taken here; a subclass is asked by its own methods, each of which it may
// have overridden.
#include <cmath>

#include "py/arguments.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/part_attributes.h"
#include "sync/wait.h"

namespace penstock::py {
namespace {

enum class Order : std::uint8_t { kFifo, kLifo, kPriority, kCustom };

struct Queue : Waiters {  // who waits for an item is in `queue`, the size it may have in `bound`
    WaitLink putters;
    WaitLink joiners;
    PyObject* items;
    PyObject* maxsize;  // as it was given
    Py_ssize_t unfinished;
    Order order;
    bool is_shut_down;
};

struct QueueWait : Wait {
    PyObject* item;  // that put() puts
};

Queue* as_queue(PyObject* self) noexcept { return reinterpret_cast<Queue*>(self); }
Queue* as_queue(Waiters* waiters) noexcept { return static_cast<Queue*>(waiters); }
QueueWait* as_queue_wait(Coroutine* self) noexcept { return static_cast<QueueWait*>(self); }

WaitLink& getters(Queue* queue) noexcept { return queue->queue; }
WaitLink& putters(Queue* queue) noexcept { return queue->putters; }

Queue* queue_of(PyObject* primitive) noexcept { return as_queue(waiters_of(primitive)); }

// Unlike a lock's, a queue's waits leave as they are woken up.
void wake_first(WaitLink& queue) noexcept {
    while (!is_empty(queue)) {
        Ref<Wait> first = Ref<Wait>::borrow(wait_of(queue.next));
        leave_queue(first.get());
        if (!is_pending(first.get())) continue;
        wake_wait(first.get());
        return;
    }
}

void wake_everyone(WaitLink& queue) noexcept {
    while (!is_empty(queue)) wake_first(queue);
}

// The methods that a subclass may override; -1 or nullptr with an exception set.
int ask(PyObject* self, PyObject* method) noexcept {
    Ref<> answer = Ref<>::steal(PyObject_CallMethodNoArgs(self, method));
    return answer ? PyObject_IsTrue(answer.get()) : -1;
}

// Whose methods are called without being looked up.
bool is_deque(const Queue* queue) noexcept {
    return object(Py_TYPE(queue->items)) == queue->state->deque;
}

// False with an exception set where `_queue` was deleted.
bool has_items(const Queue* queue) noexcept {
    if (queue->items != nullptr) [[likely]]
        return true;
    PyErr_SetString(PyExc_AttributeError, "_queue");
    return false;
}

Py_ssize_t size(Queue* queue) noexcept {
    if (!has_items(queue)) return -1;
    if (is_deque(queue)) return Py_TYPE(queue->items)->tp_as_sequence->sq_length(queue->items);
    return PyObject_Size(queue->items);
}

int is_empty_queue(PyObject* self, Queue* queue) noexcept {
    if (queue->order == Order::kCustom) return ask(self, queue->state->str_empty);
    Py_ssize_t items = size(queue);
    return items < 0 ? -1 : items == 0;
}

int is_full(PyObject* self, Queue* queue) noexcept {
    if (queue->order == Order::kCustom) return ask(self, queue->state->str_full);
    if (queue->bound <= 0) return 0;
    Py_ssize_t items = size(queue);
    return items < 0 ? -1 : items >= queue->bound;
}

PyObject* take(PyObject* self, Queue* queue) noexcept {
    State* state = queue->state;
    switch (queue->order) {
        case Order::kFifo:
            if (is_deque(queue) && state->deque_popleft != nullptr) {
                Ref<> items = Ref<>::borrow(queue->items);
                return state->deque_popleft(items.get(), nullptr);
            }
            return PyObject_CallMethodNoArgs(queue->items, state->str_popleft);
        case Order::kLifo: return PyObject_CallMethodNoArgs(queue->items, state->str_pop);
        case Order::kPriority: return PyObject_CallOneArg(state->heappop, queue->items);
        case Order::kCustom: break;
    }
    return PyObject_CallMethodNoArgs(self, state->str__get);
}

bool add(PyObject* self, Queue* queue, PyObject* item) noexcept {
    State* state = queue->state;
    PyObject* pair[] = {queue->items, item};
    Ref<> done;
    if (queue->order != Order::kCustom && !has_items(queue)) return false;
    switch (queue->order) {
        case Order::kFifo:
            if (is_deque(queue) && state->deque_append != nullptr) {
                Ref<> items = Ref<>::borrow(queue->items);
                done = Ref<>::steal(state->deque_append(items.get(), item));
                break;
            }
            [[fallthrough]];
        case Order::kLifo:
            done = Ref<>::steal(PyObject_VectorcallMethod(
                state->str_append, pair, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
            break;
        case Order::kPriority:
            done = Ref<>::steal(PyObject_Vectorcall(state->heappush, pair, 2, nullptr));
            break;
        case Order::kCustom:
            done = Ref<>::steal(PyObject_CallMethodOneArg(self, state->str__put, item));
    }
    return static_cast<bool>(done);
}

// It is not empty.
PyObject* take_and_wake(PyObject* self, Queue* queue) noexcept {
    PyObject* item = take(self, queue);
    if (item != nullptr) wake_first(queue->putters);
    return item;
}

PyObject* get_now(PyObject* self, Queue* queue) noexcept {
    int is_empty_now = is_empty_queue(self, queue);
    if (is_empty_now < 0) return nullptr;
    if (is_empty_now) {
        PyErr_SetNone(queue->is_shut_down ? queue->state->queue_shut_down
                                          : queue->state->queue_empty);
        return nullptr;
    }
    return take_and_wake(self, queue);
}

// There is room.
bool add_and_wake(PyObject* self, Queue* queue, PyObject* item) noexcept {
    if (!add(self, queue, item)) return false;
    ++queue->unfinished;
    wake_first(queue->queue);
    return true;
}

bool put_now(PyObject* self, Queue* queue, PyObject* item) noexcept {
    if (queue->is_shut_down) {
        PyErr_SetNone(queue->state->queue_shut_down);
        return false;
    }
    int is_full_now = is_full(self, queue);
    if (is_full_now < 0) return false;
    if (is_full_now) {
        PyErr_SetNone(queue->state->queue_full);
        return false;
    }
    return add_and_wake(self, queue, item);
}

// Of get(): where there is an item it is taken, else it is waited for.
PySendResult go_on_getting(Coroutine* self, PyObject** result) noexcept {
    Wait* wait = as_wait(self);
    Queue* queue = as_queue(wait->waiters);
    int is_empty_now = is_empty_queue(wait->primitive, queue);
    if (is_empty_now < 0) return fail(result);
    if (is_empty_now) {
        if (!queue->is_shut_down) return wait_in(queue->queue, wait, result);
        PyErr_SetNone(self->state->queue_shut_down);
        return fail(result);
    }
    PyObject* item = queue->order == Order::kCustom
                         ? PyObject_CallMethodNoArgs(wait->primitive, self->state->str_get_nowait)
                         : take_and_wake(wait->primitive, queue);
    return item != nullptr ? end_with(item, result) : fail(result);
}

PySendResult go_on_putting(Coroutine* self, PyObject** result) noexcept {
    QueueWait* wait = as_queue_wait(self);
    Queue* queue = as_queue(wait->waiters);
    int is_full_now = is_full(wait->primitive, queue);
    if (is_full_now < 0) return fail(result);
    // A subclass that has room is asked by its put_nowait().
    if (queue->is_shut_down && (is_full_now || queue->order != Order::kCustom)) {
        PyErr_SetNone(self->state->queue_shut_down);
        return fail(result);
    }
    if (is_full_now) return wait_in(queue->putters, wait, result);
    if (queue->order == Order::kCustom) {
        PyObject* put =
            PyObject_CallMethodOneArg(wait->primitive, self->state->str_put_nowait, wait->item);
        return put != nullptr ? end_with(put, result) : fail(result);
    }
    return add_and_wake(wait->primitive, queue, wait->item) ? end_with_none(result) : fail(result);
}

// Woken up, but it won't take what it was woken up for: the next one may.
template <auto kBlocks, auto kQueue>
PySendResult give_up(Wait* wait, PyObject* thrown, PyObject** result) noexcept {
    Queue* queue = as_queue(wait->waiters);
    if (wait->was_woken) {
        int blocks = kBlocks(wait->primitive, queue);
        if (blocks < 0) {
            Py_DECREF(thrown);
            return fail(result);
        }
        if (!blocks) wake_first(kQueue(queue));
    }
    return end_with_exception(thrown, result);
}

template <auto kGoOn, auto kBlocks, auto kQueue>
PySendResult resume_wait(Coroutine* self, PyObject* value, PyObject* thrown,
                         PyObject** result) noexcept {
    leave_queue(as_wait(self));
    if (thrown != nullptr) return give_up<kBlocks, kQueue>(as_wait(self), thrown, result);
    Py_DECREF(value);
    return kGoOn(self, result);
}

PySendResult begin_join(Coroutine* self, PyObject** result) noexcept {
    Queue* queue = as_queue(as_wait(self)->waiters);
    return queue->unfinished > 0 ? wait_in(queue->joiners, as_wait(self), result)
                                 : end_with_none(result);
}

PySendResult resume_join(Coroutine* self, PyObject* value, PyObject* thrown,
                         PyObject** result) noexcept {
    leave_queue(as_wait(self));
    if (thrown != nullptr) return end_with_exception(thrown, result);
    Py_DECREF(value);
    return end_with_none(result);
}

int visit_put(Coroutine* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_queue_wait(self)->item);
    return visit_wait(self, visit, arg);
}

void clear_put(Coroutine* self) noexcept {
    Py_CLEAR(as_queue_wait(self)->item);
    clear_wait(self);
}

constexpr CoroutineKind kGet = wait_kind("get", "Queue.get", go_on_getting,
                                         resume_wait<go_on_getting, is_empty_queue, getters>);
constexpr CoroutineKind kPut = {.name = "put",
                                .qualified_name = "Queue.put",
                                .wait_kind = WaitKind::kPrimitive,
                                .begin = go_on_putting,
                                .resume = resume_wait<go_on_putting, is_full, putters>,
                                .visit = visit_put,
                                .clear = clear_put,
                                .withdraw = nullptr,
                                .free = &State::free_puts};
constexpr CoroutineKind kJoin = wait_kind("join", "Queue.join", begin_join, resume_join);

PyObject* put(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* item = count == 2 ? args[1] : nullptr;
    if (item == nullptr || names != nullptr) {
        static constexpr const char* kNames[] = {"item"};
        if (!bind({"Queue.put", kNames, 1, 1}, args + 1, count - 1, names, {&item, 1}))
            return nullptr;
    }
    Queue* queue = queue_of(args[0]);
    if (queue == nullptr) return nullptr;
    auto* wait = static_cast<QueueWait*>(new_wait(queue->state->queue_wait, args[0], queue, &kPut));
    if (wait == nullptr) return nullptr;
    wait->item = Py_NewRef(item);
    PyObject_GC_Track(object(wait));
    return object(wait);
}

PyObject* get_nowait(PyObject* self, PyObject*) {
    Queue* queue = queue_of(self);
    return queue != nullptr ? get_now(self, queue) : nullptr;
}

PyObject* put_nowait(PyObject* self, PyObject* item) {
    Queue* queue = queue_of(self);
    if (queue == nullptr || !put_now(self, queue, item)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_items(PyObject* self, void*) {
    Queue* queue = queue_of(self);
    return queue != nullptr && has_items(queue) ? Py_NewRef(queue->items) : nullptr;
}

PyObject* qsize(PyObject* self, PyObject*) {
    Queue* queue = queue_of(self);
    Py_ssize_t items = queue != nullptr ? size(queue) : -1;
    return items >= 0 ? PyLong_FromSsize_t(items) : nullptr;
}

PyObject* empty(PyObject* self, PyObject*) {
    Ref<> items = Ref<>::steal(get_items(self, nullptr));
    int is_false = items ? PyObject_Not(items.get()) : -1;
    return is_false >= 0 ? PyBool_FromLong(is_false) : nullptr;
}

PyObject* full(PyObject* self, PyObject*) {
    Queue* queue = queue_of(self);
    if (queue == nullptr) return nullptr;
    if (queue->bound <= 0) Py_RETURN_FALSE;
    if (queue->order != Order::kCustom) return PyBool_FromLong(is_full(self, queue));
    Ref<> items = Ref<>::steal(PyObject_CallMethodNoArgs(self, queue->state->str_qsize));
    Py_ssize_t count = items ? PyNumber_AsSsize_t(items.get(), PyExc_OverflowError) : -1;
    if (count == -1 && PyErr_Occurred() != nullptr) return nullptr;
    return PyBool_FromLong(count >= queue->bound);
}

PyObject* task_done(PyObject* self, PyObject*) {
    Queue* queue = queue_of(self);
    if (queue == nullptr) return nullptr;
    if (queue->unfinished <= 0) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return nullptr;
    }
    if (--queue->unfinished == 0) wake_everyone(queue->joiners);
    Py_RETURN_NONE;
}

PyObject* shut_down(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static constexpr const char* kNames[] = {"immediate"};
    PyObject* immediate = Py_False;
    if (!bind({"shutdown", kNames, 1, 0}, args, count, names, {&immediate, 1})) return nullptr;
    Queue* queue = queue_of(self);
    int is_immediate = queue != nullptr ? PyObject_IsTrue(immediate) : -1;
    if (is_immediate < 0) return nullptr;
    queue->is_shut_down = true;
    while (is_immediate) {
        int is_empty_now = is_empty_queue(self, queue);
        if (is_empty_now < 0) return nullptr;
        if (is_empty_now) break;
        Ref<> item = Ref<>::steal(take(self, queue));
        if (!item) return nullptr;
        if (queue->unfinished > 0) --queue->unfinished;
    }
    if (is_immediate && queue->unfinished == 0) wake_everyone(queue->joiners);
    wake_everyone(queue->queue);
    wake_everyone(queue->putters);
    Py_RETURN_NONE;
}

int set_items(PyObject* self, PyObject* items, void*) {
    Queue* queue = queue_of(self);
    if (queue == nullptr) return -1;
    Py_XSETREF(queue->items, Py_XNewRef(items));
    return 0;
}

PyObject* get_maxsize(PyObject* self, void*) {
    Queue* queue = queue_of(self);
    return queue != nullptr ? Py_NewRef(queue->maxsize) : nullptr;
}

template <auto kQueue>
PyObject* get_queue(PyObject* self, void*) {
    Queue* queue = queue_of(self);
    return queue != nullptr ? list_queue(kQueue(queue)) : nullptr;
}

PyObject* get_unfinished(PyObject* self, void*) {
    Queue* queue = queue_of(self);
    return queue != nullptr ? PyLong_FromSsize_t(queue->unfinished) : nullptr;
}

int set_unfinished(PyObject* self, PyObject* value, void*) {
    Queue* queue = queue_of(self);
    return queue != nullptr && read_number(value, queue->unfinished) ? 0 : -1;
}

// How many items make a queue full, for any number that qsize() may be compared with; 0 for never.
bool read_bound(PyObject* maxsize, Py_ssize_t& bound) noexcept {
    if (PyFloat_Check(maxsize)) {
        double most = std::ceil(PyFloat_AS_DOUBLE(maxsize));
        bound = most > 0 && most < static_cast<double>(PY_SSIZE_T_MAX)
                    ? static_cast<Py_ssize_t>(most)
                    : 0;
        return true;
    }
    bound = PyNumber_AsSsize_t(maxsize, nullptr);  // what is larger is large enough
    return bound != -1 || PyErr_Occurred() == nullptr;
}

// QueuePart(order, maxsize): "fifo", "lifo", "priority" or "custom".
PyObject* new_queue(PyTypeObject* type, PyObject* args, PyObject*) {
    const char* order;
    PyObject* maxsize;
    if (!PyArg_ParseTuple(args, "sO", &order, &maxsize)) return nullptr;
    Py_ssize_t bound;
    if (!read_bound(maxsize, bound)) return nullptr;
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    Queue* queue = as_queue(made);
    queue->state = state_of_exact_type(type);
    make_empty(queue->queue);
    make_empty(queue->putters);
    make_empty(queue->joiners);
    queue->bound = bound;
    queue->maxsize = Py_NewRef(maxsize);
    queue->order = order[0] == 'f'   ? Order::kFifo
                   : order[0] == 'l' ? Order::kLifo
                   : order[0] == 'p' ? Order::kPriority
                                     : Order::kCustom;
    return made;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Queue* queue = as_queue(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(queue->loop);
    Py_VISIT(queue->items);
    Py_VISIT(queue->maxsize);
    for (WaitLink* each : {&queue->queue, &queue->putters, &queue->joiners})
        if (int stop = visit_queue(*each, visit, arg); stop != 0) return stop;
    return 0;
}

int clear(PyObject* self) {
    Queue* queue = as_queue(self);
    Py_CLEAR(queue->loop);
    Py_CLEAR(queue->items);
    for (WaitLink* each : {&queue->queue, &queue->putters, &queue->joiners}) clear_queue(*each);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_CLEAR(as_queue(self)->maxsize);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(object(type));
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a queue.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_queue)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.QueuePart", sizeof(Queue), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

constexpr CoroutineMethod coroutines[] = {
    {"get", make_wait<kGet>}, {"put", put, -1}, {"join", make_wait<kJoin>}, {nullptr, nullptr}};

PyMethodDef methods[] = {
    {"get_nowait", get_nowait, METH_NOARGS,
     "get_nowait($self)\n--\n\nRemove and return an item from the queue.\n\n"
     "Raises QueueEmpty where there is none, and QueueShutDown where there will be none."},
    {"put_nowait", method(one_argument<"put_nowait", "item", put_nowait>), kFast,
     "put_nowait($self, item)\n--\n\nPut an item into the queue without blocking.\n\n"
     "Raises QueueFull where no free slot is available, and QueueShutDown after shutdown()."},
    {"qsize", qsize, METH_NOARGS, "qsize($self)\n--\n\nNumber of items in the queue."},
    {"empty", empty, METH_NOARGS,
     "empty($self)\n--\n\nReturn True if the queue is empty, False otherwise."},
    {"full", full, METH_NOARGS,
     "full($self)\n--\n\nReturn True if there are maxsize items in the queue."},
    {"task_done", task_done, METH_NOARGS,
     "task_done($self)\n--\n\nIndicate that a formerly enqueued task is complete.\n\n"
     "Raises ValueError if called more times than there were items placed in the queue."},
    {"shutdown", method(shut_down), kFast,
     "shutdown($self, immediate=False)\n--\n\nShut-down the queue, making queue gets and puts "
     "raise QueueShutDown.\n\nBy default, gets will only raise once the queue is empty; with "
     "`immediate` the queue is drained."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"_queue", get_items, set_items, nullptr, nullptr},
    {"_maxsize", get_maxsize, nullptr, nullptr, nullptr},
    {"maxsize", get_maxsize, nullptr, "Number of items allowed in the queue.", nullptr},
    {"_getters", get_queue<getters>, nullptr, nullptr, nullptr},
    {"_putters", get_queue<putters>, nullptr, nullptr, nullptr},
    {"_unfinished_tasks", get_unfinished, set_unfinished, nullptr, nullptr},
    flag_attribute<&Queue::is_shut_down>("_is_shutdown"),
    {"_loop", get_bound_loop, set_bound_loop, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

const PrimitiveMethods queue_methods = {"Queue", coroutines, methods, attributes,
                                        &State::queue_part};

bool add_queue_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->queue_part) &&
           add_coroutine_type(module, "penstock._core.QueueWait", sizeof(QueueWait),
                              state->queue_wait);
}

}  // namespace penstock::py
