#include "futures/task_names.h"

#include <charconv>
#include <cstring>
#include <system_error>

#include "py/free_list.h"

namespace penstock::py {
namespace {

constexpr char kPrefix[] = "Task-";
constexpr std::size_t kPrefixLength = sizeof kPrefix - 1;

// Whether the string has its characters nowhere else. Before 3.12 PyUnicode_AsUnicode() leaves a
// copy of them, as wchar_t, in the string that it was asked for.
bool is_only_copy([[maybe_unused]] PyObject* name) noexcept {
#if PY_VERSION_HEX < 0x030C0000
    return reinterpret_cast<PyASCIIObject*>(name)->wstr == nullptr;
#else
    return true;
#endif
}

// Whether nobody can see that its characters change: no other reference, no place in the table of
// interned strings, and one byte a character.
bool is_reusable(PyObject* name) noexcept {
    return Py_REFCNT(name) == 1 && PyUnicode_CheckExact(name) && PyUnicode_IS_COMPACT_ASCII(name) &&
           !PyUnicode_CHECK_INTERNED(name) && is_only_copy(name);
}

}  // namespace

Py_ssize_t TaskNames::length() const noexcept {
    return static_cast<Py_ssize_t>(kPrefixLength) + 1 + more_digits_;
}

PyObject* TaskNames::make(std::uint64_t number) noexcept {
    for (;; ++more_digits_, clear()) {
        Py_ssize_t length = this->length();
        PyObject* name;
        if (count_ > 0) {
            name = spare_[--count_];
            reinterpret_cast<PyASCIIObject*>(name)->hash = -1;  // not known yet
        } else {
            name = PyUnicode_New(length, 127);
            if (name == nullptr) return nullptr;
        }
        auto* text = reinterpret_cast<char*>(PyUnicode_1BYTE_DATA(name));
        std::memcpy(text, kPrefix, kPrefixLength);
        auto written = std::to_chars(text + kPrefixLength, text + length, number);
        if (written.ptr == text + length && written.ec == std::errc()) [[likely]]
            return name;
        Py_DECREF(name);  // numbers grow: this one has more digits than the last
    }
}

void TaskNames::give_back(PyObject* name) noexcept {
    if (name == nullptr) return;
    if (kKeepsDead && count_ < kCapacity && is_reusable(name) &&
        PyUnicode_GET_LENGTH(name) == length())
        spare_[count_++] = name;
    else
        Py_DECREF(name);
}

void TaskNames::clear() noexcept {
    while (count_ > 0) Py_DECREF(spare_[--count_]);
}

}  // namespace penstock::py
