#include "tls/openssl_cipher.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace penstock::tls {

using Bio = OpenSslApi::Bio;
using namespace openssl;

namespace {

// BIO_get_data(). OpenSSL hands a BIO's functions nothing but the BIO, whose layout only the
// library knows: this one pointer can't be reached through an object. It is written once, with the
// first library that is used in the process; another copy is refused.
constinit std::atomic<void* (*)(Bio*)> bio_data = nullptr;

}  // namespace

const char* OpenSsl::make_method() noexcept {
    void* (*known)(Bio*) = nullptr;
    if (!bio_data.compare_exchange_strong(known, api.BIO_get_data) && known != api.BIO_get_data)
        return "another copy of OpenSSL serves in this process already";
    int index = api.BIO_get_new_index();
    method_ = index < 0 ? nullptr : api.BIO_meth_new(index | kBioSourceSink, "penstock");
    bool is_made = method_ != nullptr &&
                   api.BIO_meth_set_read_ex(method_, OpenSslCipher::bio_read) == 1 &&
                   api.BIO_meth_set_write_ex(method_, OpenSslCipher::bio_write) == 1 &&
                   api.BIO_meth_set_ctrl(method_, OpenSslCipher::bio_control) == 1;
    return is_made ? nullptr : "OpenSSL is out of memory";
}

OpenSslCipher::~OpenSslCipher() {
    if (bio_ != nullptr) library_.api.BIO_set_data(bio_, nullptr);
    pool_.give(std::move(output_));
}

bool OpenSslCipher::attach(OpenSslApi::Ssl* ssl) noexcept {
    const OpenSslApi& api = library_.api;
    Bio* bio = api.BIO_new(library_.method());
    if (bio == nullptr) return false;
    api.BIO_set_data(bio, this);
    // For good: where a call fails, it is always that more has to arrive.
    api.BIO_set_flags(bio, kBioShouldRetry | kBioRetryRead);
    api.BIO_set_init(bio, 1);
    api.SSL_set_bio(ssl, bio, bio);  // takes over our reference
    api.SSL_set_read_ahead(ssl, 1);  // one call for a record: take_record()
    ssl_ = ssl;
    bio_ = bio;
    return true;
}

int OpenSslCipher::bio_read(Bio* bio, char* into, std::size_t size, std::size_t* count) noexcept {
    auto* cipher = static_cast<OpenSslCipher*>(bio_data.load(std::memory_order_relaxed)(bio));
    *count =
        cipher == nullptr ? 0 : cipher->take_record({reinterpret_cast<std::byte*>(into), size});
    return *count > 0;
}

// Without a cipher the connection is gone: what an SSL object has to say goes nowhere.
int OpenSslCipher::bio_write(Bio* bio, const char* bytes, std::size_t size,
                             std::size_t* count) noexcept {
    auto* cipher = static_cast<OpenSslCipher*>(bio_data.load(std::memory_order_relaxed)(bio));
    *count = size;
    if (cipher == nullptr) return 1;
    if (cipher->output_.capacity() == 0) cipher->output_ = cipher->pool_.take();
    if (cipher->output_.append({reinterpret_cast<const std::byte*>(bytes), size})) return 1;
    *count = 0;
    return 0;
}

long OpenSslCipher::bio_control(Bio*, int command, long, void*) noexcept {
    return command == kBioControlFlush;
}

// OpenSSL reads ahead: it asks for as much as its buffer holds, not for a header and then for the
// rest. It gets no more than one record, as it would move the beginning of another to its buffer's
// front, and keep the buffer.
std::size_t OpenSslCipher::take_record(std::span<std::byte> into) noexcept {
    std::size_t taken = 0;
    if (record_left_ == 0) {
        taken = take_input(into.first(std::min(into.size(), header_.size() - header_size_)));
        std::memcpy(header_.data() + header_size_, into.data(), taken);
        header_size_ += static_cast<std::uint8_t>(taken);
        if (header_size_ < header_.size()) return taken;
        header_size_ = 0;
        record_left_ = static_cast<std::uint16_t>(std::to_integer<unsigned>(header_[3]) << 8 |
                                                  std::to_integer<unsigned>(header_[4]));
        into = into.subspan(taken);
    }
    std::size_t more = take_input(into.first(std::min<std::size_t>(into.size(), record_left_)));
    record_left_ -= static_cast<std::uint16_t>(more);
    return taken + more;
}

std::size_t OpenSslCipher::take_input(std::span<std::byte> into) noexcept {
    std::size_t taken = 0;
    if (!kept_.empty()) {
        taken = std::min(into.size(), kept_.size() - used_);
        std::memcpy(into.data(), kept_.bytes().data() + used_, taken);
        used_ += taken;
        if (used_ == kept_.size()) {
            kept_ = Buffer();
            used_ = 0;
        }
    }
    std::size_t more = std::min(into.size() - taken, fed_.size());
    if (more > 0) std::memcpy(into.data() + taken, fed_.data(), more);
    fed_ = fed_.subspan(more);
    return taken + more;
}

bool OpenSslCipher::feed(std::span<const std::byte> ciphertext) noexcept {
    if (!fed_.empty() && !keep()) return false;
    fed_ = ciphertext;
    return true;
}

bool OpenSslCipher::keep() noexcept {
    if (fed_.empty()) return true;
    bool done;
    if (used_ > 0) {
        Buffer kept;
        done = kept.append(kept_.bytes().subspan(used_)) && kept.append(fed_);
        kept_ = std::move(kept);
        used_ = 0;
    } else {
        done = kept_.append(fed_);
    }
    fed_ = {};
    return done;
}

bool OpenSslCipher::has_input() const noexcept {
    return buffered() > 0 || library_.api.SSL_has_pending(ssl_) != 0;
}

// What others left would be taken for ours. To look costs a third of clearing what is empty.
void OpenSslCipher::forget_errors() noexcept {
    if (library_.api.ERR_peek_error() != 0) library_.api.ERR_clear_error();
}

// The library's queue of errors is left as it is: the failure's reason stands there.
Transfer OpenSslCipher::not_done(int result) noexcept {
    const OpenSslApi& api = library_.api;
    switch (api.SSL_get_error(ssl_, result)) {
        case kErrorWantRead:
        case kErrorWantWrite: return {Outcome::kWantsMore, 0};
        case kErrorZeroReturn:
            if (api.SSL_get_shutdown(ssl_) == kReceivedShutdown) return {Outcome::kClosed, 0};
            [[fallthrough]];
        default: return {Outcome::kFailed, 0};
    }
}

Transfer OpenSslCipher::read(std::span<std::byte> into) noexcept {
    const OpenSslApi& api = library_.api;
    forget_errors();
    std::size_t count = 0;
    int result = api.SSL_read_ex(ssl_, into.data(), into.size(), &count);
    if (result == 1) return {Outcome::kDone, count};
    return not_done(result);
}

Transfer OpenSslCipher::write(std::span<const std::byte> plaintext) noexcept {
    const OpenSslApi& api = library_.api;
    forget_errors();
    std::size_t count = 0;
    int result = api.SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &count);
    if (result == 1) return {Outcome::kDone, count};
    return not_done(result);
}

Buffer OpenSslCipher::take_output() noexcept { return std::move(output_); }

}  // namespace penstock::tls
