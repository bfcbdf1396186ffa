// The names "Task-N" of tasks that were given none. Making and freeing the string is a tenth of a
// task's life, so the strings of dead tasks are written anew for the next ones.
#pragma once

#include <cstddef>
#include <cstdint>

#include "py/python.h"

namespace penstock::py {

// A part of the module's state, which begins as zeroed memory.
class TaskNames {
public:
    // A new reference, or nullptr with MemoryError set. No number may be shorter than the last one.
    PyObject* make(std::uint64_t number) noexcept;

    // Takes over the reference to the name of a dead task, which may be any object.
    void give_back(PyObject* name) noexcept;

    void clear() noexcept;

private:
    static constexpr std::size_t kCapacity = 1024;
    Py_ssize_t length() const noexcept;

    PyObject* spare_[kCapacity];  // strings of length() that nobody else has a reference to
    std::size_t count_ = 0;
    Py_ssize_t more_digits_ = 0;  // than the one of the first names
};

}  // namespace penstock::py
