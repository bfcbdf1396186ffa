// Bytes in, bytes out: one end of a TLS connection after its handshake, without any I/O.
//
// Ciphertext that has arrived is fed; plaintext is read until nothing more comes. What is written,
// and what the protocol itself has to say, is taken as output and sent by whoever drives it.
#pragma once

#include <cstddef>
#include <span>

#include "tls/buffer.h"

namespace penstock::tls {

enum class Outcome {
    kDone,
    kWantsMore,  // more ciphertext has to arrive first
    kClosed,     // the peer has said that nothing more comes (close_notify)
    kFailed,
};

struct Transfer {
    Outcome outcome;
    std::size_t count;  // bytes, where it is kDone
};

class Cipher {
public:
    Cipher() noexcept = default;
    Cipher(const Cipher&) = delete;
    Cipher& operator=(const Cipher&) = delete;
    virtual ~Cipher() = default;

    // The memory stays the caller's, which calls keep() before it is used for something else.
    // False where memory is out.
    [[nodiscard]] virtual bool feed(std::span<const std::byte> ciphertext) noexcept = 0;
    // Copies what was fed and has not been looked at yet. False where memory is out.
    [[nodiscard]] virtual bool keep() noexcept = 0;
    // Bytes that were fed and have not been looked at yet.
    virtual std::size_t buffered() const noexcept = 0;
    // Whether read() could have something: false where it is sure to want more.
    virtual bool has_input() const noexcept = 0;

    virtual Transfer read(std::span<std::byte> into) noexcept = 0;
    // All of `plaintext`, or nothing.
    virtual Transfer write(std::span<const std::byte> plaintext) noexcept = 0;

    // What has to be sent.
    virtual Buffer take_output() noexcept = 0;
    virtual bool has_output() const noexcept = 0;
};

}  // namespace penstock::tls
