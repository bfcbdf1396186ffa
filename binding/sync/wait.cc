#include "sync/wait.h"

#include "futures/future.h"
#include "py/ref.h"
#include "py/types.h"
#include "sync/primitive.h"

namespace penstock::py {
namespace {

Waiters* as_waiters(PyObject* self) noexcept { return reinterpret_cast<Waiters*>(self); }

bool is_linked(const Wait* wait) noexcept { return wait->link.next != nullptr; }

void append(WaitLink& queue, Wait* wait) noexcept {
    Py_INCREF(object(wait));
    wait->link = {&queue, queue.prev};
    queue.prev->next = &wait->link;
    queue.prev = &wait->link;
}

PyObject* new_waiters(PyTypeObject* type, PyObject*, PyObject*) {
    PyObject* made = type->tp_alloc(type, 0);
    if (made == nullptr) return nullptr;
    Waiters* waiters = as_waiters(made);
    waiters->state = state_of_exact_type(type);
    make_empty(waiters->queue);
    waiters->bound = PY_SSIZE_T_MAX;
    return made;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Waiters* waiters = as_waiters(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(waiters->loop);
    return visit_queue(waiters->queue, visit, arg);
}

int clear(PyObject* self) {
    Waiters* waiters = as_waiters(self);
    Py_CLEAR(waiters->loop);
    clear_queue(waiters->queue);
    return 0;
}

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The native part of a lock and its like.")},
                       {Py_tp_new, reinterpret_cast<void*>(new_waiters)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(clear_and_free<clear>)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

PyType_Spec spec = {"penstock._core.Waiters", sizeof(Waiters), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

// What runs now, as asyncio has it: a new reference, or nullptr with RuntimeError set.
Ref<> find_running_loop(State* state) noexcept {
    Ref<> loop = Ref<>::steal(PyObject_CallNoArgs(state->get_running_loop));
    if (loop && loop.get() == Py_None) {
        PyErr_SetString(PyExc_RuntimeError, "no running event loop");
        return {};
    }
    return loop;
}

PySendResult wait_for_future(WaitLink& queue, Wait* wait, PyObject** result) noexcept {
    Ref<> future = create_future(wait->waiters->loop);
    if (!future) return fail(result);
    Py_XSETREF(wait->future, Py_NewRef(future.get()));
    append(queue, wait);
    return delegate_to_awaitable(wait, future.get(), result);
}

}  // namespace

bool bind_to_loop(PyObject* primitive, Waiters* waiters, Loop*& running) noexcept {
    running = running_loop(waiters->state);
    if (running != nullptr && waiters->loop == object(running)) [[likely]]
        return true;
    Ref<> loop = find_running_loop(waiters->state);
    if (!loop) return false;
    if (waiters->loop == nullptr) waiters->loop = Py_NewRef(loop.get());
    if (waiters->loop == loop.get()) return true;
    PyErr_Format(PyExc_RuntimeError, "%R is bound to a different event loop", primitive);
    return false;
}

Wait* new_wait(PyTypeObject* type, PyObject* primitive, Waiters* waiters,
               const CoroutineKind* kind) noexcept {
    auto* wait = static_cast<Wait*>(new_coroutine(waiters->state, type, kind));
    if (wait == nullptr) return nullptr;
    wait->link = {nullptr, nullptr};
    wait->primitive = Py_NewRef(primitive);
    wait->waiters = reinterpret_cast<Waiters*>(Py_NewRef(object(waiters)));
    wait->future = nullptr;
    wait->was_woken = false;
    return wait;
}

PySendResult wait_in(WaitLink& queue, Wait* wait, PyObject** result) noexcept {
    Loop* running;
    if (!bind_to_loop(wait->primitive, wait->waiters, running)) return fail(result);
    wait->was_woken = false;
    if (!may_park(running)) [[unlikely]]
        return wait_for_future(queue, wait, result);
    append(queue, wait);
    return park(wait, result);
}

bool leave_queue(Wait* wait) noexcept {
    if (!is_linked(wait)) return false;
    wait->link.prev->next = wait->link.next;
    wait->link.next->prev = wait->link.prev;
    wait->link = {nullptr, nullptr};
    Py_DECREF(object(wait));
    return true;
}

bool is_pending(const Wait* wait) noexcept {
    return wait->future != nullptr ? is_pending(wait->state, wait->future) : !is_wait_over(wait);
}

bool is_cancelled(const Wait* wait) noexcept {
    if (wait->future == nullptr) return wait->phase == CoroutinePhase::kCancelled;
    Ref<> answer =
        Ref<>::steal(PyObject_CallMethodNoArgs(wait->future, wait->state->str_cancelled));
    if (!answer) PyErr_Clear();
    return answer.get() == Py_True;
}

bool are_all_cancelled(const WaitLink& queue) noexcept {
    for (const WaitLink* link = queue.next; link != &queue; link = link->next)
        if (!is_cancelled(wait_of(const_cast<WaitLink*>(link)))) return false;
    return true;
}

void wake_wait(Wait* wait) noexcept {
    wait->was_woken = true;
    if (wait->future == nullptr) {
        wake(wait);
        return;
    }
    Ref<> future = Ref<>::borrow(wait->future);
    PyObject* pending = take_exception();
    Ref<> done =
        Ref<>::steal(PyObject_CallMethodOneArg(future.get(), wait->state->str_set_result, Py_True));
    if (!done) PyErr_WriteUnraisable(future.get());
    if (pending != nullptr) raise_exception(pending);
}

bool wake_next(WaitLink& queue) noexcept {
    WaitLink* link = queue.next;
    while (link != &queue) {
        // A foreign future's methods may change the queue.
        Ref<Wait> wait = Ref<Wait>::borrow(wait_of(link));
        if (is_pending(wait.get())) {
            wake_wait(wait.get());
            return true;
        }
        if (!is_linked(wait.get())) return false;
        link = wait->link.next;
    }
    return false;
}

void wake_all(WaitLink& queue) noexcept {
    WaitLink* link = queue.next;
    while (link != &queue) {
        Ref<Wait> wait = Ref<Wait>::borrow(wait_of(link));
        if (is_pending(wait.get())) wake_wait(wait.get());
        if (!is_linked(wait.get())) return;
        link = wait->link.next;
    }
}

int visit_queue(const WaitLink& queue, visitproc visit, void* arg) noexcept {
    for (WaitLink* link = queue.next; link != &queue; link = link->next)
        Py_VISIT(object(wait_of(link)));
    return 0;
}

void clear_queue(WaitLink& queue) noexcept {
    while (!is_empty(queue)) leave_queue(wait_of(queue.next));
}

PyObject* list_queue(const WaitLink& queue) noexcept {
    PyObject* list = PyList_New(0);
    if (list == nullptr) return nullptr;
    for (WaitLink* link = queue.next; link != &queue; link = link->next) {
        Wait* wait = wait_of(link);
        PyObject* shown = wait->future != nullptr ? wait->future : object(wait);
        if (PyList_Append(list, shown) == 0) continue;
        Py_DECREF(list);
        return nullptr;
    }
    return list;
}

int visit_wait(Coroutine* self, visitproc visit, void* arg) noexcept {
    Wait* wait = as_wait(self);
    Py_VISIT(wait->primitive);
    Py_VISIT(object(wait->waiters));
    Py_VISIT(wait->future);
    return 0;
}

void clear_wait(Coroutine* self) noexcept {
    Wait* wait = as_wait(self);
    Py_CLEAR(wait->primitive);
    Py_CLEAR(wait->waiters);
    Py_CLEAR(wait->future);
}

bool read_number(PyObject* value, Py_ssize_t& number) noexcept {
    if (value == nullptr) {
        PyErr_SetString(PyExc_AttributeError, "it can't be deleted");
        return false;
    }
    Py_ssize_t read = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (read == -1 && PyErr_Occurred() != nullptr) return false;
    number = read;
    return true;
}

PyObject* get_waiters(PyObject* primitive, void*) {
    Waiters* waiters = waiters_of(primitive);
    return waiters != nullptr ? list_queue(waiters->queue) : nullptr;
}

PyObject* get_bound_loop(PyObject* primitive, void*) {
    Waiters* waiters = waiters_of(primitive);
    if (waiters == nullptr) return nullptr;
    return Py_NewRef(waiters->loop != nullptr ? waiters->loop : Py_None);
}

int set_bound_loop(PyObject* primitive, PyObject* loop, void*) {
    Waiters* waiters = waiters_of(primitive);
    if (waiters == nullptr) return -1;
    Py_XSETREF(waiters->loop, loop != Py_None ? Py_XNewRef(loop) : nullptr);
    return 0;
}

bool add_wait_types(PyObject* module, State* state) {
    return add_type(module, spec, nullptr, state->waiters) &&
           add_coroutine_type(module, "penstock._core.Wait", sizeof(Wait), state->wait);
}

}  // namespace penstock::py
