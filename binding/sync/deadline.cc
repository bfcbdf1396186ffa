#include "sync/deadline.h"

#include <cmath>

#include "sync/coroutine.h"

namespace penstock::py {

bool arm(Loop* loop, TimePoint when, PyObject* owner, Deadline*& place,
         decltype(Deadline::expire) expire) noexcept {
    auto* made = static_cast<Deadline*>(PyMem_Malloc(sizeof(Deadline)));
    if (made == nullptr ||
        !loop->reactor->timers().push(when, make_word(WordKind::kDeadline, made))) {
        PyMem_Free(made);
        PyErr_NoMemory();
        return false;
    }
    *made = {loop, Py_NewRef(owner), &place, expire};
    place = made;
    return true;
}

Ref<> take_owner(Deadline* deadline) noexcept {
    *deadline->place = nullptr;
    return Ref<>::steal(std::exchange(deadline->owner, nullptr));
}

void disarm(Deadline*& place) noexcept {
    if (place == nullptr) return;
    Loop* loop = place->loop;
    Ref<> owner = take_owner(place);
    count_cancelled_timer(loop);
}

void finish_deadline(Loop* loop, Deadline* deadline) noexcept {
    if (is_void(deadline)) {
        loop->reactor->timers().forget_cancelled();
    } else if (!deadline->expire(loop, deadline)) [[unlikely]] {
        constexpr Duration kUntilThereIsMemory = std::chrono::milliseconds(1);
        PyObject* failure = take_exception();
        if (loop->reactor->timers().push(now() + kUntilThereIsMemory,
                                         make_word(WordKind::kDeadline, deadline)))
            return Py_XDECREF(failure);
        report_exception(loop, "A timeout could not be told of", failure, {});
        return drop_deadline(deadline);
    }
    PyMem_Free(deadline);
}

void drop_deadline(Deadline* deadline) noexcept {
    Ref<> owner;
    if (!is_void(deadline)) owner = take_owner(deadline);
    PyMem_Free(deadline);
}

bool read_seconds(PyObject* value, double& seconds) noexcept {
    if (PyFloat_CheckExact(value)) {
        seconds = PyFloat_AS_DOUBLE(value);
        return !std::isnan(seconds);
    }
    constexpr long long kExact = 1LL << 53;
    if (!PyLong_CheckExact(value)) return false;
    int overflow;
    long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
    seconds = static_cast<double>(whole);
    return overflow == 0 && -kExact <= whole && whole <= kExact;
}

Loop* loop_of_deadlines(State* state) noexcept {
    Loop* running = running_loop(state);
    return may_park(running) && !running->has_own_timers ? running : nullptr;
}

}  // namespace penstock::py
