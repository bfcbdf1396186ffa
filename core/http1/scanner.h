// Where a run of bytes of one class ends: most of what a parser of HTTP/1.1 does. Each function
// gives the first byte from `at` on that is not of its class, or `end`; it reads nothing beyond.
//
// Every kind of scanner finds the same. scanner() is the widest that this processor runs.
#pragma once

#include <span>

namespace penstock::http1 {

struct Scanner {
    using Scan = const char* (*)(const char* at, const char* end) noexcept;

    const char* name;
    Scan token;
    Scan target;
    Scan value;
};

const Scanner& scanner() noexcept;
// Those that this processor runs: the scalar one, by the table of byte_class.h, comes first.
std::span<const Scanner> scanners() noexcept;

}  // namespace penstock::http1
