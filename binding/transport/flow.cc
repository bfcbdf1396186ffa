// Flow control: pause_writing() above the high-water mark, resume_writing() at the low one.
#include <algorithm>
#include <limits>

#include "py/arguments.h"
#include "transport/network.h"
#include "transport/transport.h"

namespace penstock::py {
namespace {

constexpr std::size_t kDefaultHighWater = std::size_t{64} * 1024;

constexpr Seldom kUsual = {.high_water = kDefaultHighWater,
                           .low_water = kDefaultHighWater / 4,
                           .max_size = Network::kMostBytesARead,
                           .write_context = nullptr,
                           .drained = nullptr};

const Seldom& limits(const Transport* transport) noexcept {
    return transport->seldom != nullptr ? *transport->seldom : kUsual;
}

std::size_t queued(const Transport* transport) noexcept {
    return transport->endpoint != nullptr ? transport->endpoint->channel().queued() : 0;
}

// Errors are reported, and the transport goes on.
bool tell_protocol(Transport* transport, PyObject* name, const char* message) noexcept {
    Loop* loop = transport->loop;
    Ref<> protocol = Ref<>::borrow(transport->protocol);
    bool done;
    if (transport->native != nullptr) {
        done = transport->is_protocol_paused ? transport->native->on_pause_writing()
                                             : transport->native->on_resume_writing();
    } else {
        Ref<> result = Ref<>::steal(PyObject_CallMethodNoArgs(protocol.get(), name));
        done = static_cast<bool>(result);
    }
    if (done) return true;
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
        return false;
    report_exception(loop, message, take_exception(),
                     {{"transport", object(transport)}, {"protocol", protocol.get()}});
    return true;
}

// A limit as it is kept: what does not fit is without limit.
bool read_limit(PyObject* value, std::size_t& out) noexcept {
    Ref<> number = Ref<>::steal(PyNumber_Long(value));
    if (!number) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
        PyErr_Clear();
        out = std::numeric_limits<Py_ssize_t>::max();
        return true;
    }
    Py_ssize_t size = PyNumber_AsSsize_t(number.get(), nullptr);  // clips
    out = static_cast<std::size_t>(size);
    return !PyErr_Occurred();
}

// Fills in what is None, and checks, on Python's numbers: the message shows what was given.
bool complete_limits(Ref<>& high, Ref<>& low, std::size_t default_high) noexcept {
    if (high.get() == Py_None) {
        Ref<> four = Ref<>::steal(PyLong_FromLong(4));
        if (!four) return false;
        high = Ref<>::steal(low.get() == Py_None ? PyLong_FromSize_t(default_high)
                                                 : PyNumber_Multiply(four.get(), low.get()));
        if (!high) return false;
    }
    if (low.get() == Py_None) {
        Ref<> four = Ref<>::steal(PyLong_FromLong(4));
        if (!four) return false;
        low = Ref<>::steal(PyNumber_FloorDivide(high.get(), four.get()));
        if (!low) return false;
    }
    Ref<> zero = Ref<>::steal(PyLong_FromLong(0));
    if (!zero) return false;
    int in_order = PyObject_RichCompareBool(high.get(), low.get(), Py_GE);
    if (in_order > 0) in_order = PyObject_RichCompareBool(low.get(), zero.get(), Py_GE);
    if (in_order == 0)
        PyErr_Format(PyExc_ValueError, "high (%R) must be >= low (%R) must be >= 0", high.get(),
                     low.get());
    return in_order > 0;
}

}  // namespace

bool remember_write_context(Transport* transport) noexcept {
    if (transport->endpoint->channel().is_writing()) return true;
    return set_write_context(transport, watching_context(transport));
}

bool after_write(Transport* transport) noexcept {
    bool done = maybe_resume_protocol(transport);
    // The last of a transport that was closed has left.
    bool is_over = done && transport->endpoint != nullptr && transport->is_closing &&
                   transport->lost == 0 && queued(transport) == 0;
    return is_over ? lose_connection(transport, Py_None) : done;
}

Seldom* need_seldom(Transport* transport) noexcept {
    if (transport->seldom == nullptr) {
        transport->seldom = static_cast<Seldom*>(PyMem_Malloc(sizeof(Seldom)));
        if (transport->seldom == nullptr) return PyErr_NoMemory(), nullptr;
        *transport->seldom = kUsual;
    }
    return transport->seldom;
}

bool set_write_context(Transport* transport, PyObject* context) noexcept {
    Seldom* seldom = context != nullptr ? need_seldom(transport) : nullptr;
    if (seldom == nullptr) return Py_XDECREF(context), false;
    Py_XSETREF(seldom->write_context, context);
    return true;
}

std::size_t most_a_read(const Transport* transport) noexcept {
    auto all = static_cast<Py_ssize_t>(Network::kMostBytesARead);
    return static_cast<std::size_t>(std::clamp<Py_ssize_t>(limits(transport).max_size, 1, all));
}

PyObject* transport_get_max_size(PyObject* self, void*) {
    return PyLong_FromSsize_t(limits(as_any_transport(self)).max_size);
}

int transport_set_max_size(PyObject* self, PyObject* value, void*) {
    if (value == nullptr)
        return PyErr_SetString(PyExc_TypeError, "can't delete numeric/char attribute"), -1;
    Py_ssize_t size = PyLong_AsSsize_t(value);
    if (size == -1 && PyErr_Occurred()) return -1;
    Seldom* seldom = need_seldom(as_any_transport(self));
    if (seldom == nullptr) return -1;
    seldom->max_size = size;
    return 0;
}

bool maybe_pause_protocol(Transport* transport) noexcept {
    if (transport->is_protocol_paused || queued(transport) <= limits(transport).high_water)
        return true;
    transport->is_protocol_paused = true;
    return tell_protocol(transport, transport->loop->state->str_pause_writing,
                         "protocol.pause_writing() failed");
}

bool maybe_resume_protocol(Transport* transport) noexcept {
    if (!transport->is_protocol_paused || queued(transport) > limits(transport).low_water)
        return true;
    transport->is_protocol_paused = false;
    return tell_protocol(transport, transport->loop->state->str_resume_writing,
                         "protocol.resume_writing() failed");
}

PyObject* transport_get_write_buffer_size(PyObject* self, PyObject*) {
    return PyLong_FromSize_t(queued(as_any_transport(self)));
}

PyObject* transport_get_write_buffer_limits(PyObject* self, PyObject*) {
    Transport* transport = as_any_transport(self);
    return Py_BuildValue("(nn)", static_cast<Py_ssize_t>(limits(transport).low_water),
                         static_cast<Py_ssize_t>(limits(transport).high_water));
}

bool parse_limits(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* names,
                  std::size_t default_high, std::size_t& high, std::size_t& low) noexcept {
    static constexpr const char* kNames[] = {"high", "low"};
    PyObject* given[] = {Py_None, Py_None};
    if (!bind({function, kNames, 2, 0}, args, count, names, given)) return false;
    Ref<> limits[] = {Ref<>::borrow(given[0]), Ref<>::borrow(given[1])};
    return complete_limits(limits[0], limits[1], default_high) &&
           read_limit(limits[0].get(), high) && read_limit(limits[1].get(), low);
}

PyObject* transport_set_write_buffer_limits(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                            PyObject* names) {
    Transport* transport = as_any_transport(self);
    std::size_t high, low;
    if (!parse_limits("set_write_buffer_limits", args, count, names, kDefaultHighWater, high, low))
        return nullptr;
    Seldom* seldom = need_seldom(transport);
    if (seldom == nullptr) return nullptr;
    seldom->high_water = high;
    seldom->low_water = low;
    if (!maybe_pause_protocol(transport)) return nullptr;
    Py_RETURN_NONE;
}

}  // namespace penstock::py
