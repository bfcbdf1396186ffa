#include "py/os_error.h"

#include <cstring>

#include "py/ref.h"

namespace penstock::py {

std::nullptr_t raise_os_error(int error, const char* call) noexcept {
    Ref<> text = Ref<>::steal(PyUnicode_FromFormat("%s (%s)", std::strerror(error), call));
    Ref<> exception = Ref<>::steal(
        text ? PyObject_CallFunction(PyExc_OSError, "iO", error, text.get()) : nullptr);
    if (exception) raise_exception(exception.release());
    return nullptr;
}

}  // namespace penstock::py
