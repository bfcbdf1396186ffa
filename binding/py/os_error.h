// OSError that says which system call failed.
#pragma once

#include <cstddef>
#include <system_error>

#include "py/python.h"

namespace penstock::py {

// Raises OSError, or the subclass that CPython has for `error`: "[Errno 24] Too many open files
// (epoll_create1)".
std::nullptr_t raise_os_error(int error, const char* call) noexcept;
// The same of an error whose what() begins with the call.
std::nullptr_t raise_os_error(const std::system_error& error) noexcept;

}  // namespace penstock::py
