#include "py/os_error.h"

#include <cstring>

#include "py/ref.h"

namespace penstock::py {

std::nullptr_t raise_os_error(int error, const char* call) noexcept {
    if (call == nullptr) return PyErr_NoMemory(), nullptr;
    Ref<> text = Ref<>::steal(PyUnicode_FromFormat("%s (%s)", std::strerror(error), call));
    Ref<> exception = Ref<>::steal(
        text ? PyObject_CallFunction(PyExc_OSError, "iO", error, text.get()) : nullptr);
    if (exception) raise_exception(exception.release());
    return nullptr;
}

std::nullptr_t raise_os_error(const std::system_error& error) noexcept {
    const char* text = error.what();
    Ref<> call = Ref<>::steal(
        PyUnicode_FromStringAndSize(text, static_cast<Py_ssize_t>(std::strcspn(text, ":"))));
    const char* name = call ? PyUnicode_AsUTF8(call.get()) : nullptr;
    return name != nullptr ? raise_os_error(error.code().value(), name) : nullptr;
}

}  // namespace penstock::py
