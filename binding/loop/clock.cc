#include "loop/clock.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "py/types.h"

namespace penstock::py {
namespace {

double monotonic_seconds() noexcept {
    return std::chrono::duration<double>(now().time_since_epoch()).count();
}

}  // namespace

TimePoint time_point(double seconds) noexcept {
    // 292 years and all that does not fit are for ever; what is not a number is due at once, as
    // a comparison with it would have it in asyncio. Half the range below zero is left free, so
    // that the difference of two times can't overflow.
    constexpr TimePoint kLongAgo(Duration::min() / 2);
    if (std::isnan(seconds)) return kLongAgo;
    double nanoseconds = seconds * 1e9;
    if (nanoseconds >= 9.2e18) return kNever;
    if (nanoseconds <= -4.6e18) return kLongAgo;
    return TimePoint(Duration(static_cast<Duration::rep>(std::ceil(nanoseconds))));
}

bool read_clock(Loop* loop, double& seconds) noexcept {
    if (!loop->has_own_clock) [[likely]] {
        seconds = monotonic_seconds();
        return true;
    }
    Ref<> time = Ref<>::steal(PyObject_CallMethodNoArgs(object(loop), loop->state->str_time));
    seconds = time ? PyFloat_AsDouble(time.get()) : -1;
    return seconds != -1 || PyErr_Occurred() == nullptr;
}

Duration clock_shift(Loop* loop) noexcept {
    if (!loop->has_own_clock || loop->failure != nullptr) return Duration::zero();
    double seconds;
    if (!read_clock(loop, seconds)) {
        PyObject* failure = take_exception();
        Py_XSETREF(loop->failure, failure);
        return Duration::zero();
    }
    // Half the range and no less than zero: sums with deadlines stay within it.
    constexpr double kMost = 4.6e9;
    if (!(seconds > 0)) seconds = 0;
    return time_point(std::min(seconds, kMost)) - now();
}

PyObject* loop_time(PyObject*, PyObject*) { return PyFloat_FromDouble(monotonic_seconds()); }

}  // namespace penstock::py
