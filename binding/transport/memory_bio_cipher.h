// A Cipher over an ssl.SSLObject's own methods and its two ssl.MemoryBIOs: slower than OpenSSL's
// functions, and right for every SSLObject. Where an operation fails, its exception is set.
#pragma once

#include "py/python.h"
#include "py/ref.h"
#include "tls/cipher.h"
#include "transport/tls_library.h"

namespace penstock::py {

// sslobject.read() and write() as a cipher's. kFailed comes with the exception set.
tls::Transfer read_by_method(TlsLibrary* library, PyObject* sslobject,
                             std::span<std::byte> into) noexcept;
tls::Transfer write_by_method(TlsLibrary* library, PyObject* sslobject,
                              std::span<const std::byte> plaintext) noexcept;

class MemoryBioCipher final : public tls::Cipher {
public:
    // All are borrowed but the BIOs. The library outlives it.
    MemoryBioCipher(TlsLibrary* library, PyObject* sslobject, Ref<> incoming,
                    Ref<> outgoing) noexcept
        : library_(library),
          sslobject_(sslobject),
          incoming_(std::move(incoming)),
          outgoing_(std::move(outgoing)) {}

    bool feed(std::span<const std::byte> ciphertext) noexcept override;
    bool keep() noexcept override { return true; }
    std::size_t buffered() const noexcept override { return pending(incoming_.get()); }
    bool has_input() const noexcept override { return true; }
    tls::Transfer read(std::span<std::byte> into) noexcept override {
        return read_by_method(library_, sslobject_, into);
    }
    tls::Transfer write(std::span<const std::byte> plaintext) noexcept override {
        return write_by_method(library_, sslobject_, plaintext);
    }
    tls::Buffer take_output() noexcept override;
    bool has_output() const noexcept override { return pending(outgoing_.get()) > 0; }

private:
    static std::size_t pending(PyObject* bio) noexcept;

    TlsLibrary* library_;
    PyObject* sslobject_;
    Ref<> incoming_, outgoing_;
};

}  // namespace penstock::py
