// For tests: while one lives, `new` of this thread finds no memory, from the one on that comes
// after `allowed` others.
#pragma once

#include <cstddef>

namespace penstock::testing {

class NoMemory {
public:
    explicit NoMemory(std::size_t allowed = 0) noexcept;
    ~NoMemory();
    NoMemory(const NoMemory&) = delete;
    NoMemory& operator=(const NoMemory&) = delete;

    std::size_t refused() const noexcept;  // how often
};

}  // namespace penstock::testing
