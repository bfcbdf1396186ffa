#include "net/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/retried.h"

namespace penstock::pipe {

ssize_t read(int fd, std::span<std::byte> into) noexcept {
    return retried([&] { return ::read(fd, into.data(), into.size()); });
}

ssize_t write(int fd, std::span<const std::byte> bytes) noexcept {
    return retried([&] { return ::write(fd, bytes.data(), bytes.size()); });
}

ssize_t write(int fd, std::span<const iovec> pieces) noexcept {
    auto count = static_cast<int>(std::min<std::size_t>(pieces.size(), IOV_MAX));
    return retried([&] { return ::writev(fd, pieces.data(), count); });
}

int duplicate(int fd, UniqueFd& out) noexcept {
    int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (copy < 0) return -errno;
    out.reset(copy);
    return 0;
}

}  // namespace penstock::pipe
