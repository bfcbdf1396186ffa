// Dead objects of one type, kept for the next of it: their memory, GC header and reference to
// the type stay as they are. Off under sanitizers and in debug builds of CPython,
// which must see every life end.
#pragma once

#include <cstddef>

#include "py/python.h"

namespace penstock::py {

#if defined(PENSTOCK_SANITIZED) || defined(Py_DEBUG)
constexpr bool kKeepsDead = false;
#else
constexpr bool kKeepsDead = true;
#endif

template <std::size_t Capacity>
class FreeList {
public:
    // An object with one reference and nothing but its type set, or nullptr.
    PyObject* pop() noexcept {
        if (count_ == 0) return nullptr;
        PyObject* dead = items_[--count_];
        _Py_NewReference(dead);
        return dead;
    }

    // True where `dead` is kept; it must be untracked and hold nothing.
    bool push(PyObject* dead) noexcept {
        if (!kKeepsDead || count_ == Capacity) return false;
        items_[count_++] = dead;
        return true;
    }

    // Frees what is kept. Every object held one reference to its type.
    template <class Free>
    void clear(Free free_object) noexcept {
        while (count_ > 0) {
            PyObject* dead = items_[--count_];
            PyTypeObject* type = Py_TYPE(dead);
            free_object(dead);
            Py_DECREF(object(type));
        }
    }

private:
    PyObject* items_[Capacity];
    std::size_t count_ = 0;
};

}  // namespace penstock::py
