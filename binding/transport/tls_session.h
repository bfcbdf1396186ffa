// One TLS connection: the states of asyncio's SSLProtocol, natively, between the transport below
// that carries ciphertext and the application's protocol above.
//
//     kUnwrapped -> kHandshake -> kWrapped -> kFlushing -> kShutdown -> kUnwrapped
//
// kFlushing: closed by us or by the peer, and what was written before has yet to leave.
// kShutdown: close_notify is out, the peer's is awaited. kUnwrapped comes at any time by abort().
//
// Memory stays bounded from both ends. Towards the peer: where the transport below has paused
// writing, nothing more is encrypted, what is written waits as it is, and the application is paused
// in turn. Towards the application: where it has paused, ciphertext is kept up to a limit, then the
// transport below is paused.
//
// OpenSSL may call Python while it works (SNI, message and key log callbacks), and those may call
// the transport: while is_busy_, what is written is queued and what is closed waits.
//
// Where a method returns false, an exception is set that whoever called is to see; what asyncio
// contains is contained here.
#pragma once

#include <cstddef>
#include <memory>

#include "loop/loop.h"
#include "net/write_queue.h"
#include "py/ref.h"
#include "tls/cipher.h"
#include "transport/network.h"
#include "transport/stream_protocol.h"
#include "transport/tls_library.h"
#include "transport/view.h"

namespace penstock::py {

struct TlsTransport;

// Whether what is raised is up to an Exception: what is more ends the run.
inline bool is_ordinary() noexcept { return PyErr_ExceptionMatches(PyExc_Exception) != 0; }

struct TlsOptions {
    PyObject* protocol;
    PyObject* context;            // ssl.SSLContext, or None for a client's default
    PyObject* waiter;             // None for none
    PyObject* server_hostname;    // or None
    PyObject* handshake_timeout;  // seconds, None for asyncio's default
    PyObject* shutdown_timeout;   // the same
    bool is_server;
    bool calls_connection_made;
    bool is_accepted;  // nobody waits: what fails is told in debug mode only
};

class TlsSession final : public StreamProtocol {
public:
    enum class Phase { kUnwrapped, kHandshake, kWrapped, kFlushing, kShutdown };

    TlsSession(TlsTransport* transport, Loop* loop, TlsLibrary* library) noexcept;
    ~TlsSession();
    TlsSession(const TlsSession&) = delete;
    TlsSession& operator=(const TlsSession&) = delete;

    bool set_up(const TlsOptions& options) noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;
    void clear() noexcept;

    // The transport below is there: the handshake begins.
    bool begin(PyObject* below) noexcept;
    // Ciphertext that was received before: it comes first. Before begin().
    bool feed(std::span<const std::byte> bytes) noexcept {
        if (!cipher_) return true;
        return (cipher_->feed(bytes) && cipher_->keep()) || (PyErr_NoMemory(), false);
    }

    bool on_bytes(std::span<const std::byte> bytes) noexcept override;
    bool puts_off_reading() noexcept override {
        return state_ == Phase::kHandshake && !loop_->network->takes_handshake();
    }
    int on_eof() noexcept override;
    bool on_pause_writing() noexcept override;
    bool on_resume_writing() noexcept override;
    bool on_lost(PyObject* exception) noexcept override;

    // What the transport's methods do.
    bool write(const View& view) noexcept;
    bool write(std::span<const View> views) noexcept;
    bool close() noexcept;
    bool abort(PyObject* exception) noexcept;
    bool resume() noexcept;  // goes on where something waited
    bool handshake_timed_out() noexcept;
    bool shutdown_timed_out() noexcept;
    bool set_protocol(PyObject* protocol) noexcept;
    bool pause_reading() noexcept;
    bool resume_reading() noexcept;
    bool control_app_writing() noexcept;
    bool control_reading() noexcept;
    PyObject* extra_info(PyObject* name, PyObject* fallback) noexcept;
    std::size_t write_buffer_size() const noexcept { return backlog_.bytes(); }
    std::size_t read_buffer_size() const noexcept { return cipher_ ? cipher_->buffered() : 0; }

    PyObject* protocol() const noexcept { return protocol_.get(); }
    PyObject* context() const noexcept { return context_.get(); }
    PyObject* below() const noexcept { return below_.get(); }
    Loop* loop() const noexcept { return loop_.get(); }
    bool is_closed() const noexcept { return is_closed_; }
    void set_closed() noexcept { is_closed_ = true; }
    bool is_closing() const noexcept;
    bool is_reading_paused() const noexcept { return is_app_reading_paused_; }
    bool is_writing_paused() const noexcept { return is_app_writing_paused_; }

    // As asyncio's, which has a quarter of it for the low mark.
    static constexpr std::size_t kReadHighWater = std::size_t{256} * 1024;
    static constexpr std::size_t kWriteHighWater = std::size_t{512} * 1024;

    std::size_t write_high, write_low, read_high, read_low;

private:
    enum class App { kInitial, kMade, kEof, kLost };

    // tls_session.cc
    bool make_cipher(const TlsOptions& options) noexcept;
    bool start_timer(Ref<>& timer, PyObject* delay, const char* method) noexcept;
    void cancel_timer(Ref<>& timer) noexcept;
    bool start_shutdown() noexcept;
    void forget() noexcept;
    bool flush_and_shut_down() noexcept;
    bool shut_down() noexcept;
    bool shutdown_complete(PyObject* exception) noexcept;
    bool limit_the_end() noexcept;
    bool resume_soon() noexcept;
    bool fatal_error(PyObject* exception, const char* message) noexcept;
    bool contain(const char* message) noexcept;

    // tls_handshake.cc
    bool handshake() noexcept;
    bool handshake_done() noexcept;
    bool handshake_failed(PyObject* exception) noexcept;
    bool put_extra(const char* key, PyObject* value) noexcept;
    bool fill_extra() noexcept;
    bool wake_waiter(PyObject* exception) noexcept;
    bool report_accepted(PyObject* exception) noexcept;
    bool is_again() const noexcept;

    // tls_transfer.cc
    tls::Transfer decrypt(std::span<std::byte> into) noexcept;
    tls::Transfer encrypt(std::span<const std::byte> plaintext) noexcept;
    void raise_failure() noexcept;
    bool read_all() noexcept;
    bool read_what_is_there() noexcept;
    bool read_into_buffer(tls::Outcome& outcome, bool& is_full) noexcept;
    bool read_and_deliver(tls::Outcome& outcome, bool& is_full) noexcept;
    bool deliver(std::span<const std::byte> plaintext) noexcept;
    bool deliver(PyObject* data) noexcept;
    std::size_t fill(std::span<std::byte> into, tls::Outcome& outcome) noexcept;
    bool call_eof_received() noexcept;
    bool can_write(bool& done) noexcept;
    bool queue(const View& view, std::size_t sent) noexcept;
    bool write_some(std::span<const std::byte> plaintext, std::size_t& written) noexcept;
    bool write_backlog() noexcept;
    bool flush() noexcept;

    // tls_flow.cc
    bool tell_protocol(PyObject* name, const char* message) noexcept;

    // tls_below.cc: the transport below, ours or any other
    bool write_below(std::span<const std::byte> bytes) noexcept;
    bool pause_below() noexcept;
    bool resume_below() noexcept;
    bool close_below() noexcept;
    bool force_close_below(PyObject* exception) noexcept;

    // By the protocol, where it lies, before the next is deciphered.
    bool is_read_in_place() const noexcept { return native_ != nullptr && !native_->keeps_bytes(); }
    bool may_read() const noexcept {
        return state_ == Phase::kWrapped || state_ == Phase::kFlushing;
    }

    TlsTransport* transport_;  // owns us
    TlsLibrary* library_;
    Ref<Loop> loop_;
    Ref<> below_;  // nullptr before begin() and after on_lost()
    Ref<> protocol_;
    Ref<> waiter_;
    Ref<> context_;
    Ref<> extra_;  // the transport's slot may be given something else
    Ref<> sslobject_;
    Ref<> handshake_timeout_, shutdown_timeout_;
    Ref<> handshake_timer_, shutdown_timer_;
    StreamProtocol* native_ = nullptr;  // protocol_'s
    std::unique_ptr<tls::Cipher> cipher_;
    WriteQueue backlog_;  // plaintext
    double began_ = 0;    // the handshake, in debug mode
    unsigned lost_ = 0;   // connection_lost() and writes since
    Phase state_ = Phase::kUnwrapped;
    App app_ = App::kInitial;
    bool is_server_ = false, is_accepted_ = false;
    bool is_closed_ = false, is_lost_ = false;
    bool is_done_with_ = false;
    bool is_busy_ = false;
    bool is_buffered_ = false;  // the protocol is a BufferedProtocol
    bool by_methods_ = false;   // read and written by the SSLObject's methods
    bool has_eof_ = false;
    bool is_below_writing_paused_ = false, is_below_reading_paused_ = false;
    bool is_app_reading_paused_ = false, is_app_writing_paused_ = false;
};

}  // namespace penstock::py
