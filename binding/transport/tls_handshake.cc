// The handshake of a TLS connection, and whoever waits for it.
#include "futures/future.h"
#include "py/state.h"
#include "transport/log.h"
#include "transport/tls_session.h"
#include "transport/tls_transport.h"

namespace penstock::py {
namespace {

// Seconds of the loop's clock.
double now(Loop* loop) noexcept {
    Ref<> time = Ref<>::steal(loop_time(object(loop), nullptr));
    return time ? PyFloat_AsDouble(time.get()) : 0;
}

}  // namespace

bool TlsSession::begin(PyObject* below) noexcept {
    if (is_lost_) return true;
    below_ = Ref<>::borrow(below);
    // It may be full of what was written before.
    Ref<> is_full = Ref<>::steal(PyObject_GetAttrString(below, "_protocol_paused"));
    int is_paused = is_full ? PyObject_IsTrue(is_full.get()) : -1;
    if (is_paused < 0) return false;
    is_below_writing_paused_ = is_paused > 0;
    if (is_closed_) return force_close_below(Py_None);  // closed by an owner who could not wait
    if (loop_->is_debug) {
        log_debug("%r starts SSL handshake", object(transport_));
        began_ = now(loop_.get());
    }
    state_ = Phase::kHandshake;
    return start_timer(handshake_timer_, handshake_timeout_.get(), "_check_handshake_timeout") &&
           handshake();
}

bool TlsSession::is_again() const noexcept {
    return PyErr_ExceptionMatches(library_->want_read) ||
           PyErr_ExceptionMatches(library_->syscall_error);
}

bool TlsSession::handshake() noexcept {
    if (is_busy_) return true;
    is_busy_ = true;
    Ref<> done = Ref<>::steal(PyObject_CallMethod(sslobject_.get(), "do_handshake", nullptr));
    is_busy_ = false;
    if (state_ != Phase::kHandshake) {  // closed by a callback of OpenSSL's
        if (done || is_ordinary()) PyErr_Clear();
        return !PyErr_Occurred();
    }
    if (done) return handshake_done();
    if (is_again()) {
        PyErr_Clear();
        return flush();
    }
    if (!is_ordinary()) return false;
    return handshake_failed(take_exception());
}

bool TlsSession::fill_extra() noexcept {
    if (!extra_) return true;
    PyObject* tls = sslobject_.get();
    return put_extra("peercert", PyObject_CallMethod(tls, "getpeercert", nullptr)) &&
           put_extra("cipher", PyObject_CallMethod(tls, "cipher", nullptr)) &&
           put_extra("compression", PyObject_CallMethod(tls, "compression", nullptr)) &&
           put_extra("ssl_object", Py_NewRef(tls));
}

bool TlsSession::handshake_done() noexcept {
    cancel_timer(handshake_timer_);
    // An sni_callback may have set another context. One with a message callback wants CPython
    // around every call of the library: what the callback raises comes out there.
    Ref<> context = Ref<>::steal(PyObject_GetAttrString(sslobject_.get(), "context"));
    Ref<> callback =
        Ref<>::steal(context ? PyObject_GetAttrString(context.get(), "_msg_callback") : nullptr);
    if (!callback) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return handshake_failed(take_exception());
        PyErr_Clear();
    }
    by_methods_ = callback && callback.get() != Py_None;
    if (!fill_extra()) return handshake_failed(take_exception());
    state_ = Phase::kWrapped;
    if (loop_->is_debug) {
        Ref<> took = Ref<>::steal(PyFloat_FromDouble((now(loop_.get()) - began_) * 1e3));
        if (took) log_debug("%r: SSL handshake took %.1f ms", object(transport_), took.get());
    }
    if (app_ == App::kInitial) {
        app_ = App::kMade;
        Ref<> protocol = Ref<>::borrow(protocol_.get());
        Ref<> made = Ref<>::steal(PyObject_CallMethodOneArg(
            protocol.get(), loop_->state->str_connection_made, object(transport_)));
        if (!made) return false;
    }
    bool is_awaited = waiter_ && cipher_->has_input();
    if (!wake_waiter(nullptr)) return false;
    if (!is_awaited) return read_all();
    // Whoever waits has a turn before the first data, which may be meant for another protocol by
    // then: that of TLS in TLS.
    if (!write_backlog()) return contain("Fatal error on SSL protocol");
    return resume_soon();
}

// Takes over `exception`. The peer is told why, as far as OpenSSL tells: the alert is out before
// the connection is.
bool TlsSession::handshake_failed(PyObject* exception) noexcept {
    Ref<> held = Ref<>::steal(exception);
    cancel_timer(handshake_timer_);
    if (!flush()) PyErr_WriteUnraisable(object(transport_));
    state_ = Phase::kUnwrapped;
    const char* message = PyErr_GivenExceptionMatches(exception, library_->certificate_error)
                              ? "SSL handshake failed on verifying the certificate"
                              : "SSL handshake failed";
    return fatal_error(Py_NewRef(exception), message) && wake_waiter(exception);
}

bool TlsSession::wake_waiter(PyObject* exception) noexcept {
    if (is_accepted_) {
        is_accepted_ = false;
        return exception == nullptr || report_accepted(exception);
    }
    if (!waiter_) return true;
    Ref<> waiter = std::move(waiter_);
    State* state = loop_->state;
    if (exception == nullptr || exception == Py_None)
        return set_unless_cancelled(state, waiter.get(), state->str_set_result, Py_None);
    return set_unless_cancelled(state, waiter.get(), state->str_set_exception, exception);
}

// asyncio's task that waits for an accepted connection tells in debug mode only.
bool TlsSession::report_accepted(PyObject* exception) noexcept {
    if (exception != Py_None && loop_->is_debug)
        report_exception(loop_.get(), "Error on transport creation for incoming connection",
                         Py_NewRef(exception),
                         {{"protocol", protocol_.get()}, {"transport", object(transport_)}});
    return true;
}

bool TlsSession::handshake_timed_out() noexcept {
    if (state_ != Phase::kHandshake) return true;
    Ref<> error = Ref<>::steal(PyObject_CallFunctionObjArgs(
        PyExc_ConnectionAbortedError,
        Ref<>::steal(PyUnicode_FromFormat(
                         "SSL handshake is taking longer than %S seconds: aborting the connection",
                         handshake_timeout_.get()))
            .get(),
        nullptr));
    return error && fatal_error(error.release(), "Fatal error on transport");
}

}  // namespace penstock::py
