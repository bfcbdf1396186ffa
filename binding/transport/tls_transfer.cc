// What goes through a TLS connection once it stands: data in both directions, and flow control.
#include <algorithm>
#include <array>
#include <vector>

#include "py/state.h"
#include "py/types.h"
#include "transport/log.h"
#include "transport/memory_bio_cipher.h"
#include "transport/network.h"
#include "transport/socket_transport.h"
#include "transport/tls_session.h"
#include "transport/tls_transport.h"

namespace penstock::py {

using tls::Outcome;
using tls::Transfer;

namespace {

constexpr std::size_t kRecord = std::size_t{16} * 1024;       // the most plaintext of one
constexpr std::size_t kMostAWrite = std::size_t{128} * 1024;  // encrypted before it is sent

// A failure of the connection, unless the protocol's own exception came first.
bool fails_with(PyObject* failure, bool done) noexcept {
    if (failure == nullptr) return done;
    if (done)
        raise_exception(failure);
    else
        Py_DECREF(failure);
    return false;
}

}  // namespace

// ---- the cipher, and the errors of the library -------------------------------------------------

Transfer TlsSession::decrypt(std::span<std::byte> into) noexcept {
    if (is_busy_) return {Outcome::kWantsMore, 0};
    is_busy_ = true;
    Transfer read =
        by_methods_ ? read_by_method(library_, sslobject_.get(), into) : cipher_->read(into);
    is_busy_ = false;
    if (read.outcome == Outcome::kFailed && !PyErr_Occurred()) raise_failure();
    return read;
}

Transfer TlsSession::encrypt(std::span<const std::byte> plaintext) noexcept {
    if (is_busy_) return {Outcome::kWantsMore, 0};
    is_busy_ = true;
    Transfer written = by_methods_ ? write_by_method(library_, sslobject_.get(), plaintext)
                                   : cipher_->write(plaintext);
    is_busy_ = false;
    if (written.outcome == Outcome::kFailed && !PyErr_Occurred()) raise_failure();
    return written;
}

// OpenSSL fails again what follows a failure and leaves the reason in its queue of errors, from
// which the ssl module makes the exception that it would have raised.
void TlsSession::raise_failure() noexcept {
    std::byte unused[1];
    Transfer read = read_by_method(library_, sslobject_.get(), unused);
    if (read.outcome != Outcome::kFailed)
        PyErr_SetString(library_->ssl_error, "the TLS connection has failed");
}

// ---- in ----------------------------------------------------------------------------------------

bool TlsSession::read_all() noexcept {
    if (!may_read()) return true;
    if (!read_what_is_there() || !write_backlog() || !control_reading())
        return contain("Fatal error on SSL protocol");
    return true;
}

bool TlsSession::read_what_is_there() noexcept {
    while (!is_app_reading_paused_ && may_read() && cipher_->has_input() && protocol_) {
        Outcome outcome = Outcome::kDone;
        bool is_full = false;
        bool done =
            is_buffered_ ? read_into_buffer(outcome, is_full) : read_and_deliver(outcome, is_full);
        if (!done) return false;
        if (outcome == Outcome::kClosed) return call_eof_received() && start_shutdown();
        if (!is_full) break;
    }
    return true;
}

// Reads until `into` is full or nothing more comes. How much that was; with kFailed, an exception
// is set.
std::size_t TlsSession::fill(std::span<std::byte> into, Outcome& outcome) noexcept {
    std::size_t filled = 0;
    while (filled < into.size()) {
        Transfer read = decrypt(into.subspan(filled));
        outcome = read.outcome;
        if (outcome != Outcome::kDone) break;
        filled += read.count;
        if (!cipher_->has_input()) {
            outcome = Outcome::kWantsMore;
            break;
        }
    }
    return filled;
}

// Small data goes through memory of the loop's, large data straight into its bytes object.
bool TlsSession::read_and_deliver(Outcome& outcome, bool& is_full) noexcept {
    Network* network = loop_->network;
    if (network == nullptr) return true;
    std::size_t bound = cipher_->buffered() + kRecord;  // a part of a record may be in already
    // A native protocol deciphers what it gets, into that same memory.
    bool is_small = bound <= network->plaintext().size() && !is_read_in_place();
    Ref<> block = Ref<>::steal(is_small ? nullptr : network->take_block(bound));
    if (!is_small && !block) return false;
    std::span<std::byte> memory = is_small ? network->plaintext() : bytes_memory(block.get());
    std::size_t count = fill(memory, outcome);
    is_full = count == memory.size();
    // What came before a failure is delivered before it.
    PyObject* failure = outcome == Outcome::kFailed ? take_exception() : nullptr;
    bool done = true;
    if (count > 0 && !is_small && !is_read_in_place() && 2 * count >= memory.size()) {
        resize_block(block.get(), count);
        done = deliver(block.get());
    } else if (count > 0) {
        done = deliver(memory.first(count));
    }
    return fails_with(failure, done);
}

bool TlsSession::deliver(std::span<const std::byte> plaintext) noexcept {
    if (is_read_in_place()) {
        Ref<> held = Ref<>::borrow(protocol_.get());
        return native_->on_bytes(plaintext);
    }
    Ref<> data =
        Ref<>::steal(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(plaintext.data()),
                                               static_cast<Py_ssize_t>(plaintext.size())));
    return data && deliver(data.get());
}

bool TlsSession::deliver(PyObject* data) noexcept {
    Ref<> protocol = Ref<>::borrow(protocol_.get());
    if (native_ != nullptr) return native_->on_object(data);
    PyObject* args[] = {protocol.get(), data};
    Ref<> result = Ref<>::steal(PyObject_VectorcallMethod(
        loop_->state->str_data_received, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    return static_cast<bool>(result);
}

bool TlsSession::read_into_buffer(Outcome& outcome, bool& is_full) noexcept {
    State* state = loop_->state;
    Ref<> protocol = Ref<>::borrow(protocol_.get());
    Ref<> size = Ref<>::steal(PyLong_FromSize_t(read_buffer_size()));
    Ref<> buffer = Ref<>::steal(
        size ? PyObject_CallMethodOneArg(protocol.get(), state->str_get_buffer, size.get())
             : nullptr);
    if (!buffer) return false;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer.get(), &view, PyBUF_WRITABLE) < 0) return false;
    std::size_t capacity = static_cast<std::size_t>(view.len);
    if (capacity == 0) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
        return false;
    }
    std::size_t count = 0;
    if (may_read()) count = fill({static_cast<std::byte*>(view.buf), capacity}, outcome);
    PyObject* failure = outcome == Outcome::kFailed ? take_exception() : nullptr;
    PyBuffer_Release(&view);
    is_full = count == capacity;
    bool done = true;
    if (count > 0) {
        Ref<> number = Ref<>::steal(PyLong_FromSize_t(count));
        Ref<> told =
            Ref<>::steal(number ? PyObject_CallMethodOneArg(protocol.get(),
                                                            state->str_buffer_updated, number.get())
                                : nullptr);
        done = static_cast<bool>(told);
    }
    return fails_with(failure, done);
}

bool TlsSession::call_eof_received() noexcept {
    if (app_ != App::kMade || !protocol_) return true;
    app_ = App::kEof;
    Ref<> protocol = Ref<>::borrow(protocol_.get());
    int keeps_open;
    if (native_ != nullptr) {
        keeps_open = native_->on_eof();
        if (keeps_open > 0) keeps_open = 0;  // it knows
    } else {
        Ref<> answer =
            Ref<>::steal(PyObject_CallMethodNoArgs(protocol.get(), loop_->state->str_eof_received));
        keeps_open = answer ? PyObject_IsTrue(answer.get()) : -1;
    }
    if (keeps_open > 0) {
        Ref<> args = Ref<>::steal(Py_BuildValue(
            "(s)", "returning true from eof_received() has no effect when using ssl"));
        if (log_call("warning", args.get(), nullptr)) return true;
    } else if (keeps_open == 0) {
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
        return false;
    return fatal_error(take_exception(), "Error calling eof_received()");
}

// ---- out ---------------------------------------------------------------------------------------

// False where nothing is to be written; `done` says whether that is all right.
bool TlsSession::can_write(bool& done) noexcept {
    done = true;
    if (state_ == Phase::kWrapped || state_ == Phase::kHandshake) return true;
    Ref<> warned = Ref<>::steal(warn_of_lost(lost_, "SSL connection is closed"));
    done = static_cast<bool>(warned);
    return false;
}

bool TlsSession::write(const View& view) noexcept {
    bool done;
    if (!can_write(done)) return done;
    std::size_t written = 0;
    if (state_ == Phase::kWrapped && backlog_.empty() && !write_some(view.bytes(), written))
        return contain("Fatal error on SSL protocol");
    if (written < view.bytes().size() && !queue(view, written)) return false;
    return control_app_writing();
}

// Several pieces are queued, so that small ones share a record.
bool TlsSession::write(std::span<const View> views) noexcept {
    bool done;
    if (!can_write(done)) return done;
    for (const View& view : views)
        if (!queue(view, 0)) return false;
    if (state_ == Phase::kWrapped && !write_backlog())
        return contain("Fatal error on SSL protocol");
    return control_app_writing();
}

bool TlsSession::queue(const View& view, std::size_t sent) noexcept {
    std::optional<Chunk> rest = view.rest(sent);
    try {
        if (rest) {
            backlog_.push(std::move(*rest));
            return true;
        }
    } catch (const std::bad_alloc&) {
    }
    PyErr_NoMemory();
    return false;
}

// Encrypts and sends for as long as the transport below takes it. False with an exception set.
bool TlsSession::write_some(std::span<const std::byte> plaintext, std::size_t& written) noexcept {
    while (written < plaintext.size() && !is_below_writing_paused_ && !is_busy_ && may_read()) {
        std::span<const std::byte> piece = plaintext.subspan(written);
        Transfer made = encrypt(piece.first(std::min(piece.size(), kMostAWrite)));
        if (made.outcome == Outcome::kFailed) return false;
        if (made.outcome != Outcome::kDone) break;
        written += made.count;
        if (!flush()) return false;
    }
    return true;
}

bool TlsSession::write_backlog() noexcept {
    while (!backlog_.empty() && !is_below_writing_paused_ && !is_busy_ && may_read()) {
        std::array<iovec, 512> pieces;
        std::size_t count = backlog_.gather(pieces);
        std::span<const std::byte> first{static_cast<const std::byte*>(pieces[0].iov_base),
                                         pieces[0].iov_len};
        std::array<std::byte, kRecord> record;
        if (count > 1 && first.size() < kRecord) {
            std::size_t size = 0;
            for (std::size_t i = 0; i < count && size < kRecord; ++i) {
                std::size_t part = std::min(pieces[i].iov_len, kRecord - size);
                std::memcpy(record.data() + size, pieces[i].iov_base, part);
                size += part;
            }
            first = {record.data(), size};
        }
        // Nobody but us takes from the backlog: is_busy_ keeps callbacks of OpenSSL out, and what
        // is sent below calls nobody who writes here before we are through.
        std::vector<Chunk> done;
        try {
            done.reserve(count);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return false;
        }
        Transfer made = encrypt(first.first(std::min(first.size(), kMostAWrite)));
        if (made.outcome == Outcome::kFailed) return false;
        if (made.outcome != Outcome::kDone) break;
        backlog_.consume(std::min(made.count, backlog_.bytes()), done);
        if (!flush()) return false;
    }
    return flush() && control_app_writing();
}

// Hands what was made to the transport below, which sends it or queues it.
bool TlsSession::flush() noexcept {
    if (!cipher_ || is_busy_ || !cipher_->has_output()) return true;
    tls::Buffer output = cipher_->take_output();
    bool done = write_below(output.bytes());
    library_->pool.give(std::move(output));
    return done;
}

}  // namespace penstock::py
