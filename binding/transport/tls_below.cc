// What TLS asks of the transport below it: C++ where that is one over a socket, else its methods.
#include "py/state.h"
#include "transport/socket_transport.h"
#include "transport/tls_session.h"

namespace penstock::py {
namespace {

bool is_native(const Loop* loop, PyObject* below) noexcept {
    return Py_TYPE(below) == loop->state->transport;
}

bool done(PyObject* result) noexcept {
    Py_XDECREF(result);
    return result != nullptr;
}

}  // namespace

bool TlsSession::write_below(std::span<const std::byte> bytes) noexcept {
    if (!below_) return true;
    Ref<> below = Ref<>::borrow(below_.get());
    if (is_native(loop_.get(), below.get())) return write_bytes(as_transport(below.get()), bytes);
    Ref<> data = Ref<>::steal(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                                        static_cast<Py_ssize_t>(bytes.size())));
    return data && done(PyObject_CallMethod(below.get(), "write", "O", data.get()));
}

bool TlsSession::pause_below() noexcept {
    if (!below_) return true;
    Ref<> below = Ref<>::borrow(below_.get());
    if (is_native(loop_.get(), below.get()))
        return done(transport_pause_reading(below.get(), nullptr));
    return done(PyObject_CallMethod(below.get(), "pause_reading", nullptr));
}

bool TlsSession::resume_below() noexcept {
    if (!below_) return true;
    Ref<> below = Ref<>::borrow(below_.get());
    if (is_native(loop_.get(), below.get()))
        return done(transport_resume_reading(below.get(), nullptr));
    return done(PyObject_CallMethod(below.get(), "resume_reading", nullptr));
}

// Later, so that what is going on with the connection ends first.
bool TlsSession::close_below() noexcept {
    if (!below_) return true;
    Ref<> close = Ref<>::steal(PyObject_GetAttr(below_.get(), loop_->state->str_close));
    PyObject* args[] = {object(loop_.get()), close.get()};
    return close && done(PyObject_VectorcallMethod(loop_->state->str_call_soon, args,
                                                   2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
}

bool TlsSession::force_close_below(PyObject* exception) noexcept {
    if (!below_) return true;
    Ref<> below = Ref<>::borrow(below_.get());
    if (is_native(loop_.get(), below.get()))
        return done(transport_force_close(below.get(), exception));
    return done(PyObject_CallMethod(below.get(), "_force_close", "O", exception));
}

}  // namespace penstock::py
