// Flow control of a TLS connection, towards the application and towards the transport below.
#include "py/state.h"
#include "transport/tls_session.h"
#include "transport/tls_transport.h"

namespace penstock::py {

bool TlsSession::tell_protocol(PyObject* name, const char* message) noexcept {
    if (!protocol_) return true;
    Ref<> protocol = Ref<>::borrow(protocol_.get());
    bool done;
    if (native_ != nullptr) {
        done = is_app_writing_paused_ ? native_->on_pause_writing() : native_->on_resume_writing();
    } else {
        Ref<> result = Ref<>::steal(PyObject_CallMethodNoArgs(protocol.get(), name));
        done = static_cast<bool>(result);
    }
    if (done) return true;
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
        return false;
    report_exception(loop_.get(), message, take_exception(),
                     {{"transport", object(transport_)}, {"protocol", protocol.get()}});
    return true;
}

bool TlsSession::control_app_writing() noexcept {
    std::size_t size = backlog_.bytes();
    if (!is_app_writing_paused_ && size > 0 && size >= write_high) {
        is_app_writing_paused_ = true;
        return tell_protocol(loop_->state->str_pause_writing, "protocol.pause_writing() failed");
    }
    if (is_app_writing_paused_ && size <= write_low) {
        is_app_writing_paused_ = false;
        return tell_protocol(loop_->state->str_resume_writing, "protocol.resume_writing() failed");
    }
    return true;
}

bool TlsSession::on_pause_writing() noexcept {
    is_below_writing_paused_ = true;
    return true;
}

bool TlsSession::on_resume_writing() noexcept {
    is_below_writing_paused_ = false;
    if (is_busy_) return true;  // whoever is busy writes on
    if (state_ == Phase::kFlushing) return flush_and_shut_down();
    if (state_ == Phase::kWrapped && !write_backlog())
        return contain("Fatal error on SSL protocol");
    return true;
}

bool TlsSession::control_reading() noexcept {
    std::size_t size = read_buffer_size();
    if (!is_below_reading_paused_ && size > 0 && size >= read_high) {
        is_below_reading_paused_ = true;
        return pause_below();
    }
    if (is_below_reading_paused_ && size <= read_low) {
        is_below_reading_paused_ = false;
        return resume_below();
    }
    return true;
}

bool TlsSession::pause_reading() noexcept {
    is_app_reading_paused_ = true;
    return true;
}

bool TlsSession::resume_reading() noexcept {
    if (!is_app_reading_paused_) return true;
    is_app_reading_paused_ = false;
    return resume_soon();
}

}  // namespace penstock::py
