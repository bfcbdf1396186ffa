// How a TLS connection comes to stand, and how it ends.
#include "transport/tls_session.h"

#include <new>

#include "py/state.h"
#include "py/types.h"
#include "tls/openssl_cipher.h"
#include "transport/log.h"
#include "transport/memory_bio_cipher.h"
#include "transport/tls_transport.h"

namespace penstock::py {
namespace {

Ref<> asyncio_constant(const char* name) noexcept {
    Ref<> constants = Ref<>::steal(PyImport_ImportModule("asyncio.constants"));
    return Ref<>::steal(constants ? PyObject_GetAttrString(constants.get(), name) : nullptr);
}

// Empty with an exception set where it isn't one.
Ref<> read_timeout(PyObject* given, const char* constant, const char* name) noexcept {
    if (given == nullptr || given == Py_None) return asyncio_constant(constant);
    Ref<> zero = Ref<>::steal(PyLong_FromLong(0));
    int is_bad = zero ? PyObject_RichCompareBool(given, zero.get(), Py_LE) : -1;
    if (is_bad == 0) return Ref<>::borrow(given);
    if (is_bad > 0)
        PyErr_Format(PyExc_ValueError, "%s should be a positive number, got %S", name, given);
    return {};
}

}  // namespace

TlsSession::TlsSession(TlsTransport* transport, Loop* loop, TlsLibrary* library) noexcept
    : write_high(kWriteHighWater),
      write_low(kWriteHighWater / 4),
      read_high(kReadHighWater),
      read_low(kReadHighWater / 4),
      transport_(transport),
      library_(library),
      loop_(Ref<Loop>::borrow(loop)) {}

TlsSession::~TlsSession() = default;

int TlsSession::traverse(visitproc visit, void* arg) const noexcept {
    for (const Ref<>* held : {&below_, &protocol_, &waiter_, &context_, &extra_, &sslobject_,
                              &handshake_timer_, &shutdown_timer_})
        Py_VISIT(held->get());
    Py_VISIT(object(loop_.get()));
    return 0;
}

// The SSLObject stays: the cipher works on it until both go.
void TlsSession::clear() noexcept {
    native_ = nullptr;
    for (Ref<>* held :
         {&below_, &protocol_, &waiter_, &context_, &extra_, &handshake_timer_, &shutdown_timer_})
        *held = Ref<>();
}

bool TlsSession::is_closing() const noexcept {
    if (is_closed_) return true;
    if (!below_) return false;
    Ref<> answer = Ref<>::steal(PyObject_CallMethod(below_.get(), "is_closing", nullptr));
    int is_closing = answer ? PyObject_IsTrue(answer.get()) : -1;
    if (is_closing < 0) PyErr_WriteUnraisable(below_.get());
    return is_closing > 0;
}

// ---- making one --------------------------------------------------------------------------------

bool TlsSession::set_up(const TlsOptions& options) noexcept {
    handshake_timeout_ =
        read_timeout(options.handshake_timeout, "SSL_HANDSHAKE_TIMEOUT", "ssl_handshake_timeout");
    if (!handshake_timeout_) return false;
    shutdown_timeout_ =
        read_timeout(options.shutdown_timeout, "SSL_SHUTDOWN_TIMEOUT", "ssl_shutdown_timeout");
    if (!shutdown_timeout_) return false;
    int has_hostname = PyObject_IsTrue(options.server_hostname);
    int has_context = has_hostname < 0 ? -1 : PyObject_IsTrue(options.context);
    if (has_context < 0) return false;
    if (has_context > 0) {
        context_ = Ref<>::borrow(options.context);
    } else if (options.is_server) {
        PyErr_SetString(PyExc_ValueError, "Server side SSL needs a valid SSLContext");
        return false;
    } else {
        // Looked up each time: programs replace it.
        Ref<> ssl = Ref<>::steal(PyImport_ImportModule("ssl"));
        context_ = Ref<>::steal(
            ssl ? PyObject_CallMethod(ssl.get(), "create_default_context", nullptr) : nullptr);
        if (!context_ || (!has_hostname &&
                          PyObject_SetAttrString(context_.get(), "check_hostname", Py_False) < 0))
            return false;
    }
    is_server_ = options.is_server;
    is_accepted_ = options.is_accepted;
    app_ = options.calls_connection_made ? App::kInitial : App::kMade;
    if (options.waiter != Py_None) waiter_ = Ref<>::borrow(options.waiter);
    if (!set_protocol(options.protocol)) return false;
    extra_ = Ref<>::steal(PyDict_New());
    if (!extra_ || !put_extra("sslcontext", Py_NewRef(context_.get()))) return false;
    Py_XSETREF(transport_->extra, Py_NewRef(extra_.get()));
    return make_cipher(options);
}

bool TlsSession::make_cipher(const TlsOptions& options) noexcept {
    Ref<> incoming = Ref<>::steal(PyObject_CallNoArgs(library_->memory_bio));
    if (!incoming) return false;
    Ref<> outgoing = Ref<>::steal(PyObject_CallNoArgs(library_->memory_bio));
    if (!outgoing) return false;
    Ref<> wrap = Ref<>::steal(PyObject_GetAttrString(context_.get(), "wrap_bio"));
    if (!wrap) return false;
    int names_host = options.is_server ? 0 : PyObject_IsTrue(options.server_hostname);
    if (names_host < 0) return false;
    Ref<> args = Ref<>::steal(PyTuple_Pack(2, incoming.get(), outgoing.get()));
    if (!args) return false;
    Ref<> keywords = Ref<>::steal(
        Py_BuildValue("{s:O,s:O}", "server_side", options.is_server ? Py_True : Py_False,
                      "server_hostname", names_host ? options.server_hostname : Py_None));
    if (!keywords) return false;
    sslobject_ = Ref<>::steal(PyObject_Call(wrap.get(), args.get(), keywords.get()));
    if (!sslobject_) return false;
    if (tls::OpenSslApi::Ssl* ssl = ssl_pointer(library_, sslobject_.get())) {
        auto* cipher = new (std::nothrow) tls::OpenSslCipher(library_->openssl, library_->pool);
        cipher_.reset(cipher);
        if (cipher == nullptr || !cipher->attach(ssl)) return PyErr_NoMemory(), false;
        return true;
    }
    cipher_.reset(new (std::nothrow) MemoryBioCipher(library_, sslobject_.get(),
                                                     std::move(incoming), std::move(outgoing)));
    return cipher_ != nullptr || (PyErr_NoMemory(), false);
}

bool TlsSession::set_protocol(PyObject* protocol) noexcept {
    int is_buffered = PyObject_IsInstance(protocol, loop_->state->buffered_protocol);
    if (is_buffered < 0) return false;
    is_buffered_ = is_buffered != 0;
    native_ = native_protocol(loop_->state, protocol);
    protocol_ = Ref<>::borrow(protocol);
    return true;
}

// Takes over `value`, which is nullptr where an exception is set.
bool TlsSession::put_extra(const char* key, PyObject* value) noexcept {
    Ref<> owned = Ref<>::steal(value);
    Ref<> extra = Ref<>::borrow(extra_.get());  // the program's keys may forget it as well
    return owned && (!extra || PyDict_SetItemString(extra.get(), key, owned.get()) == 0);
}

PyObject* TlsSession::extra_info(PyObject* name, PyObject* fallback) noexcept {
    if (Ref<> extra = Ref<>::borrow(extra_.get()); extra) {  // a comparison may forget it
        PyObject* found = PyDict_GetItemWithError(extra.get(), name);
        if (found != nullptr) return Py_NewRef(found);
        if (PyErr_Occurred()) return nullptr;
    }
    if (!below_) return Py_NewRef(fallback);
    return PyObject_CallMethod(below_.get(), "get_extra_info", "OO", name, fallback);
}

// ---- timers ------------------------------------------------------------------------------------

bool TlsSession::start_timer(Ref<>& timer, PyObject* delay, const char* method) noexcept {
    Ref<> callback = Ref<>::steal(PyObject_GetAttrString(object(transport_), method));
    timer = Ref<>::steal(callback ? PyObject_CallMethod(object(loop_.get()), "call_later", "OO",
                                                        delay, callback.get())
                                  : nullptr);
    return static_cast<bool>(timer);
}

void TlsSession::cancel_timer(Ref<>& timer) noexcept {
    if (!timer) return;
    Ref<> handle = std::move(timer);
    PyObject* pending = take_exception();
    Ref<> done = Ref<>::steal(PyObject_CallMethodNoArgs(handle.get(), loop_->state->str_cancel));
    if (!done) PyErr_WriteUnraisable(handle.get());
    if (pending != nullptr) raise_exception(pending);
}

// ---- what the transport below tells ------------------------------------------------------------

bool TlsSession::on_bytes(std::span<const std::byte> bytes) noexcept {
    Ref<> held = Ref<>::borrow(object(transport_));
    if (state_ == Phase::kUnwrapped) return true;
    bool done = cipher_->feed(bytes) ? resume() : (PyErr_NoMemory(), false);
    if (!cipher_ || cipher_->keep()) return done;
    if (done) PyErr_NoMemory();
    return false;
}

// Goes on where something was waited for.
bool TlsSession::resume() noexcept {
    Ref<> held = Ref<>::borrow(object(transport_));
    if (is_busy_) return true;
    switch (state_) {
        case Phase::kHandshake: return handshake();
        case Phase::kWrapped: return read_all();
        case Phase::kFlushing: return flush_and_shut_down();
        case Phase::kShutdown: return shut_down();
        case Phase::kUnwrapped: return true;
    }
    return true;
}

int TlsSession::on_eof() noexcept {
    Ref<> held = Ref<>::borrow(object(transport_));
    has_eof_ = true;
    if (loop_->is_debug) log_debug("%r received EOF", object(transport_));
    bool done = true;
    switch (state_) {
        case Phase::kHandshake: {
            Ref<> error = Ref<>::steal(PyObject_CallNoArgs(PyExc_ConnectionResetError));
            done = error && handshake_failed(error.release());
            break;
        }
        case Phase::kWrapped:
            state_ = Phase::kFlushing;
            if (is_app_reading_paused_) return 1;  // what came before is still to be read
            done = flush_and_shut_down();
            break;
        case Phase::kFlushing: done = flush_and_shut_down(); break;
        case Phase::kShutdown: done = shut_down(); break;
        case Phase::kUnwrapped: break;
    }
    // What waits to leave leaves first: the peer has only closed its own side.
    if (done) return state_ == Phase::kFlushing;
    PyObject* pending = take_exception();
    if (!close_below()) PyErr_WriteUnraisable(object(transport_));
    raise_exception(pending);
    return -1;
}

bool TlsSession::on_lost(PyObject* exception) noexcept {
    Ref<> held = Ref<>::borrow(object(transport_));
    WriteQueue::Chunks dropped = backlog_.take_all();
    ++lost_;
    is_closed_ = is_lost_ = true;
    bool tells = state_ != Phase::kHandshake && (app_ == App::kMade || app_ == App::kEof);
    state_ = Phase::kUnwrapped;
    is_below_writing_paused_ = false;
    cancel_timer(handshake_timer_);
    cancel_timer(shutdown_timer_);
    Ref<> protocol = Ref<>::borrow(protocol_.get());
    bool done = true;
    if (tells) {
        app_ = App::kLost;
        Ref<> callback = Ref<>::steal(PyObject_GetAttr(
            protocol.get(),
            native_ != nullptr ? loop_->state->str__lost : loop_->state->str_connection_lost));
        Ref<> handle = Ref<>::steal(callback ? PyObject_CallMethod(object(loop_.get()), "call_soon",
                                                                   "OO", callback.get(), exception)
                                             : nullptr);
        done = static_cast<bool>(handle);
    }
    bool woken = wake_waiter(exception);
    native_ = nullptr;
    Ref<> below = std::move(below_);
    Ref<> above = std::move(protocol_);
    if (is_done_with_) forget();
    return done && woken;
}

void TlsSession::forget() noexcept {
    Ref<> slot = Ref<>::steal(std::exchange(transport_->extra, nullptr));
    Ref<> extra = std::move(extra_);
    std::unique_ptr<tls::Cipher> cipher = std::move(cipher_);
    Ref<> sslobject = std::move(sslobject_);
    Ref<> context = std::move(context_);
    cipher.reset();  // works on the SSLObject
}

// ---- the end -----------------------------------------------------------------------------------

bool TlsSession::close() noexcept {
    if (is_closed_) {
        // Whoever closes twice has done with it, and may keep it for long.
        is_done_with_ = true;
        if (is_lost_ && !below_) forget();
        return true;
    }
    is_closed_ = true;
    // What is left of a peer that has ended is for a reader who doesn't want it any more.
    if (state_ != Phase::kFlushing || !has_eof_ || is_busy_) return start_shutdown();
    return flush_and_shut_down();
}

bool TlsSession::abort(PyObject* exception) noexcept {
    is_closed_ = true;
    state_ = Phase::kUnwrapped;
    return force_close_below(exception);
}

bool TlsSession::start_shutdown() noexcept {
    if (state_ != Phase::kHandshake && state_ != Phase::kWrapped) return true;
    is_closed_ = true;
    if (state_ == Phase::kHandshake) return abort(Py_None);
    state_ = Phase::kFlushing;
    if (!start_timer(shutdown_timer_, shutdown_timeout_.get(), "_check_shutdown_timeout"))
        return false;
    return is_busy_ ? resume_soon() : flush_and_shut_down();
}

bool TlsSession::resume_soon() noexcept {
    Ref<> callback = Ref<>::steal(PyObject_GetAttrString(object(transport_), "_resume"));
    Ref<> handle = Ref<>::steal(
        callback ? PyObject_CallMethod(object(loop_.get()), "call_soon", "O", callback.get())
                 : nullptr);
    return static_cast<bool>(handle);
}

// close_notify goes out behind the last of what was written. What the peer sends until then is
// delivered: its close_notify ends it.
bool TlsSession::flush_and_shut_down() noexcept {
    if (!read_all()) return false;
    if (state_ != Phase::kFlushing) return true;
    if (is_app_reading_paused_ && !write_backlog()) return contain("Fatal error on SSL protocol");
    bool waits = !backlog_.empty() && (is_below_writing_paused_ || !has_eof_);
    if (state_ != Phase::kFlushing) return true;
    if (waits) return limit_the_end();
    state_ = Phase::kShutdown;
    return shut_down();
}

bool TlsSession::shut_down() noexcept {
    if (is_busy_) return true;
    if (!has_eof_) {
        is_busy_ = true;
        Ref<> done = Ref<>::steal(PyObject_CallMethod(sslobject_.get(), "unwrap", nullptr));
        is_busy_ = false;
        if (state_ != Phase::kShutdown) {
            if (done || is_ordinary()) PyErr_Clear();
            return !PyErr_Occurred();
        }
        if (!done && is_again()) {
            PyErr_Clear();
            return flush();
        }
        if (!done && !PyErr_ExceptionMatches(library_->ssl_error)) return false;
        if (!done) {
            Ref<> failure = Ref<>::steal(take_exception());
            return flush() && shutdown_complete(failure.release());
        }
    }
    return flush() && call_eof_received() && shutdown_complete(nullptr);
}

bool TlsSession::shutdown_complete(PyObject* exception) noexcept {
    if (exception == nullptr) return limit_the_end() && close_below();
    cancel_timer(shutdown_timer_);
    return fatal_error(exception, "Fatal error on transport");
}

// What is queued leaves first, which a peer that does not read can delay forever: asyncio bounds
// that from 3.14.10 on, and so that nothing that older ones deliver is lost, not before.
bool TlsSession::limit_the_end() noexcept {
    constexpr unsigned long kBounded = 0x030e0a00;
    if (Py_Version < kBounded) {
        if (state_ == Phase::kShutdown) cancel_timer(shutdown_timer_);
        return true;
    }
    return shutdown_timer_ ||
           start_timer(shutdown_timer_, shutdown_timeout_.get(), "_check_shutdown_timeout");
}

bool TlsSession::shutdown_timed_out() noexcept {
    if (state_ != Phase::kFlushing && state_ != Phase::kShutdown) return true;
    Ref<> error =
        Ref<>::steal(PyObject_CallFunction(PyExc_TimeoutError, "s", "SSL shutdown timed out"));
    return error && force_close_below(error.get());
}

// Takes over `exception`. OSErrors are the peer's doing and no news, all else is reported; the
// connection is lost either way.
bool TlsSession::fatal_error(PyObject* exception, const char* message) noexcept {
    Ref<> error = Ref<>::steal(exception);
    Ref<> below = Ref<>::borrow(below_.get());
    if (!force_close_below(exception)) return false;  // the loop is closed
    if (PyErr_GivenExceptionMatches(exception, PyExc_OSError)) {
        if (!loop_->is_debug) return true;
        Ref<> args = Ref<>::steal(Py_BuildValue("(sOs)", "%r: %s", object(transport_), message));
        Ref<> keywords = Ref<>::steal(Py_BuildValue("{s:O}", "exc_info", exception));
        return args && keywords && log_call("debug", args.get(), keywords.get());
    }
    if (!PyErr_GivenExceptionMatches(exception, loop_->state->cancelled_error))
        report_exception(
            loop_.get(), message, error.release(),
            {{"transport", below ? below.get() : Py_None}, {"protocol", object(transport_)}});
    return true;
}

bool TlsSession::contain(const char* message) noexcept {
    if (!is_ordinary()) return false;
    return fatal_error(take_exception(), message);
}

}  // namespace penstock::py
