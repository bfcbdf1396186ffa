// Header lines as the (name, value) tuples that a scope has: a client sends the same lines with
// each request, and many clients send the same.
//
// Tuples of bytes can't be changed, so that requests may share them. What is secret is not kept.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "http1/request.h"
#include "py/python.h"

namespace penstock::py {

class FieldCache {
public:
    FieldCache() = default;
    FieldCache(const FieldCache&) = delete;
    FieldCache& operator=(const FieldCache&) = delete;
    ~FieldCache();

    // (name in lower case, value), as a new reference; nullptr with an exception set.
    PyObject* pair_of(const http1::Field& field) noexcept;

private:
    struct Entry {
        std::string line;  // as it came, from the name to the end of the value
        PyObject* pair = nullptr;
    };
    std::array<Entry, 512> entries_;
};

}  // namespace penstock::py
