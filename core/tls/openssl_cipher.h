// A Cipher over an SSL object of OpenSSL's, whose owner keeps it alive and does its handshake.
//
// The SSL object reads and writes through a BIO of our own: it takes ciphertext straight from the
// memory into which it was received, and what it makes is collected in one buffer.
#pragma once

#include <array>
#include <cstdint>

#include "tls/cipher.h"
#include "tls/openssl_api.h"

namespace penstock::tls {

// What one copy of OpenSSL gives: its functions, and the kind of our BIOs. That is never freed: an
// SSL object may be alive for as long as the process is, and its BIO with it.
class OpenSsl {
public:
    OpenSslApi api{};
    // nullptr, or what stands in the way.
    const char* make_method() noexcept;
    const OpenSslApi::BioMethod* method() const noexcept { return method_; }

private:
    OpenSslApi::BioMethod* method_ = nullptr;
};

class OpenSslCipher final : public Cipher {
public:
    // Both outlive it; it is of use once attach() was.
    OpenSslCipher(const OpenSsl& library, BufferPool& pool) noexcept
        : library_(library), pool_(pool) {}
    ~OpenSslCipher() override;

    // Replaces the BIOs of `ssl`, which the caller keeps alive from now on. False where memory is
    // out.
    bool attach(OpenSslApi::Ssl* ssl) noexcept;

    bool feed(std::span<const std::byte> ciphertext) noexcept override;
    bool keep() noexcept override;
    std::size_t buffered() const noexcept override { return kept_.size() - used_ + fed_.size(); }
    bool has_input() const noexcept override;
    Transfer read(std::span<std::byte> into) noexcept override;
    Transfer write(std::span<const std::byte> plaintext) noexcept override;
    Buffer take_output() noexcept override;
    bool has_output() const noexcept override { return !output_.empty(); }

private:
    // The BIO's calls.
    static int bio_read(OpenSslApi::Bio* bio, char* into, std::size_t size,
                        std::size_t* count) noexcept;
    static int bio_write(OpenSslApi::Bio* bio, const char* bytes, std::size_t size,
                         std::size_t* count) noexcept;
    static long bio_control(OpenSslApi::Bio* bio, int command, long number, void* pointer) noexcept;
    friend class OpenSsl;

    std::size_t take_record(std::span<std::byte> into) noexcept;
    std::size_t take_input(std::span<std::byte> into) noexcept;
    void forget_errors() noexcept;
    Transfer not_done(int result) noexcept;

    const OpenSsl& library_;
    BufferPool& pool_;
    OpenSslApi::Ssl* ssl_ = nullptr;
    OpenSslApi::Bio* bio_ = nullptr;  // the SSL object's
    Buffer kept_;                     // comes before fed_; the first used_ bytes are read
    std::size_t used_ = 0;
    std::span<const std::byte> fed_;
    // Of the record that is being taken: how much of its header is, and what is left of the rest.
    std::array<std::byte, 5> header_{};
    std::uint8_t header_size_ = 0;
    std::uint16_t record_left_ = 0;
    Buffer output_;
};

}  // namespace penstock::tls
