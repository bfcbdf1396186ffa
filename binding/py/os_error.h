// OSError that says which system call failed.
#pragma once

#include <cstddef>

#include "py/python.h"

namespace penstock::py {

// Raises OSError, or the subclass that CPython has for `error`: "[Errno 24] Too many open files
// (epoll_create1)".
std::nullptr_t raise_os_error(int error, const char* call) noexcept;

}  // namespace penstock::py
