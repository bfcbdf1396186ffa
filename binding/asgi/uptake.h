// Whether a client takes what it is sent, as its kernel acknowledges it: our own queue does not
// tell, for a file goes past it, and a body that is one piece may take long though it moves.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace penstock::py {

struct HttpConnection;

class Uptake {
public:
    // False for a client that something waits for and that has not taken as much as it has to for
    // too long.
    bool check(const HttpConnection* connection, TimePoint now) noexcept;

private:
    TimePoint since_{};        // nothing waits where that is not set
    std::uint64_t taken_ = 0;  // then
};

// Whether the kernel tells how much the client has taken: not of a Unix socket. There what the
// kernel has taken in counts, and a file is given to it in pieces.
bool knows_uptake(const HttpConnection* connection) noexcept;

// Something is on its way that has not even reached the kernel.
bool has_unsent(const HttpConnection* connection) noexcept;

// Something has come that we have not read: it is we who are late, not the client.
bool has_unread(const HttpConnection* connection) noexcept;

// The client has closed its end, or its half: which stands behind all that we have not read.
bool has_ended(const HttpConnection* connection) noexcept;

}  // namespace penstock::py
