// The dicts that an application sends, and when what they say leaves.
#pragma once

#include <cstddef>

#include "py/python.h"

namespace penstock::py {

constexpr std::size_t kNotCopied = std::size_t{32} * 1024;  // from there on a body is sent as it is
constexpr std::size_t kMostOutput = std::size_t{64} * 1024;  // then it leaves at once

// RuntimeError is set; false.
inline bool unexpected(PyObject* type, const char* where) noexcept {
    PyErr_Format(PyExc_RuntimeError, "Unexpected ASGI message '%S' sent, %s", type, where);
    return false;
}

// Whether a message's type is the one that is wanted.
inline bool is(PyObject* type, PyObject* wanted) noexcept {
    return type == wanted || (PyUnicode_Check(type) && PyUnicode_Compare(type, wanted) == 0);
}

}  // namespace penstock::py
