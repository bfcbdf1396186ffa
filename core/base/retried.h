// A system call until it is no longer interrupted: its result, or -errno.
#pragma once

#include <cerrno>

namespace penstock {

template <class Call>
auto retried(Call call) noexcept -> decltype(call()) {
    for (;;) {
        auto result = call();
        if (result >= 0) return result;
        if (errno != EINTR) return -errno;
    }
}

}  // namespace penstock
