// Bytes of a message as Python's objects.
#pragma once

#include <algorithm>
#include <string_view>

#include "py/python.h"

namespace penstock::py {

constexpr char lower_case(char letter) noexcept {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter | 0x20) : letter;
}

// `wanted` is in lower case.
constexpr bool equals_ignoring_case(std::string_view text, std::string_view wanted) noexcept {
    return text.size() == wanted.size() &&
           std::equal(text.begin(), text.end(), wanted.begin(),
                      [](char a, char b) { return lower_case(a) == b; });
}

inline std::string_view view_of_bytes(PyObject* bytes) noexcept {
    return {PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))};
}

inline PyObject* bytes_of(std::string_view text) noexcept {
    return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

inline PyObject* lower_case_bytes(std::string_view text) noexcept {
    PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(text.size()));
    if (made != nullptr)
        std::transform(text.begin(), text.end(), PyBytes_AS_STRING(made), lower_case);
    return made;
}

}  // namespace penstock::py
