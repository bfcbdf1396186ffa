// Which backend a loop gets. io_uring is for who asks for it, and only where the kernel and the
// build have it: else epoll takes its place, and the reason is told to whoever wants to know.
#pragma once

#include <memory>
#include <string>

#include "reactor/backend.h"

namespace penstock {

struct Selection {
    std::unique_ptr<Backend> backend;  // nullptr where there is none of the name
    std::string reason;                // "the default", "PENSTOCK_BACKEND is set", or why it is not
};

// `wanted` is the value of PENSTOCK_BACKEND; nullptr and "" are the default. Throws
// std::system_error where not even epoll can be had, and std::bad_alloc.
Selection select_backend(const char* wanted);

}  // namespace penstock
