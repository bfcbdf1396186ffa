// The calls on an fd that need be no socket: pipes, FIFOs, terminals, and sockets all the same.
// As in socket.h a result below zero is -errno and nothing throws; but who writes where nobody
// reads gets SIGPIPE, unless the process ignores it: write(2) can't be told otherwise.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "base/unique_fd.h"

namespace penstock::pipe {

ssize_t read(int fd, std::span<std::byte> into) noexcept;
ssize_t write(int fd, std::span<const std::byte> bytes) noexcept;
ssize_t write(int fd, std::span<const iovec> pieces) noexcept;  // at most IOV_MAX are looked at
// Another number for the same open file, not inherited. 0 and `out`, or -errno.
int duplicate(int fd, UniqueFd& out) noexcept;

}  // namespace penstock::pipe
