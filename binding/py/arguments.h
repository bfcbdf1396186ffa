// Arguments of METH_FASTCALL | METH_KEYWORDS methods, taken as a function in Python takes them.
//
// Whoever is called often looks first at what all give by position, and leaves only the rest to
// bind().
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "py/python.h"

namespace penstock::py {

struct Parameters {
    const char* function;  // for messages
    std::span<const char* const> names;
    Py_ssize_t positional;  // so many of them may be given by position, the others by name only
    Py_ssize_t required;    // so many must be given: at most two
    bool has_rest = false;  // *args
};

// Puts each argument, borrowed, in its parameter's place among `values`, where the defaults are
// already: nullptr for those that are required. False with Python's own TypeError set.
bool bind(const Parameters& parameters, PyObject* const* args, Py_ssize_t count, PyObject* names,
          std::span<PyObject*> values) noexcept;

// A string as a template's argument.
template <std::size_t kSize>
struct Name {
    consteval Name(const char (&from)[kSize]) { std::copy_n(from, kSize, text); }
    char text[kSize];
};

// The method `kFunction(kParameter)`: METH_O, and by name as well.
template <Name kFunction, Name kParameter, auto kMethod>
PyObject* one_argument(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 1 && names == nullptr) [[likely]]
        return kMethod(self, args[0]);
    static constexpr const char* kNames[] = {kParameter.text};
    PyObject* argument[] = {nullptr};
    return bind({kFunction.text, kNames, 1, 1}, args, count, names, argument)
               ? kMethod(self, argument[0])
               : nullptr;
}

}  // namespace penstock::py
