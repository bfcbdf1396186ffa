#include "py/arguments.h"

#include "py/types.h"

namespace penstock::py {
namespace {

bool check_none_missing(const Parameters& parameters, std::span<PyObject* const> values) noexcept {
    const char* missing[2] = {};
    std::size_t count = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(parameters.required); ++i)
        if (values[i] == nullptr) missing[count++] = parameters.names[i];
    if (count == 1)
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'",
                     parameters.function, missing[0]);
    else if (count == 2)
        PyErr_Format(PyExc_TypeError, "%s() missing 2 required positional arguments: '%s' and '%s'",
                     parameters.function, missing[0], missing[1]);
    return count == 0;
}

// Counts as Python does: `self` is one.
bool fail_too_many(const Parameters& parameters, Py_ssize_t count) noexcept {
    Py_ssize_t least = parameters.required + 1, most = parameters.positional + 1;
    if (least == most)
        PyErr_Format(PyExc_TypeError, "%s() takes %zd positional argument%s but %zd were given",
                     parameters.function, most, most == 1 ? "" : "s", count + 1);
    else
        PyErr_Format(PyExc_TypeError,
                     "%s() takes from %zd to %zd positional arguments but %zd were given",
                     parameters.function, least, most, count + 1);
    return false;
}

}  // namespace

bool bind(const Parameters& parameters, PyObject* const* args, Py_ssize_t count, PyObject* names,
          std::span<PyObject*> values) noexcept {
    Py_ssize_t by_position = std::min(count, parameters.positional);
    std::copy_n(args, by_position, values.begin());
    Keywords given(args, count, names);
    for (Py_ssize_t i = 0; i < given.count(); ++i) {
        auto found =
            std::ranges::find_if(parameters.names, [name = given.name(i)](const char* one) {
                return PyUnicode_CompareWithASCIIString(name, one) == 0;
            });
        if (found == parameters.names.end())
            return unexpected_keyword(parameters.function, given.name(i));
        auto index = found - parameters.names.begin();
        if (index < by_position) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         parameters.function, given.name(i));
            return false;
        }
        values[static_cast<std::size_t>(index)] = given.value(i);
    }
    if (count > parameters.positional && !parameters.has_rest)
        return fail_too_many(parameters, count);
    return check_none_missing(parameters, values);
}

}  // namespace penstock::py
