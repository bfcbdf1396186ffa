// A strong reference. Copying is deleted: a new reference is always spelled borrow(), so that
// every count that we touch can be found by search.
#pragma once

#include <utility>

#include "py/python.h"

namespace penstock::py {

template <class T = PyObject>
class Ref {
public:
    Ref() noexcept = default;
    Ref(Ref&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
    ~Ref() { Py_XDECREF(object(pointer_)); }
    // The old object may run Python code as it dies, and that code may look at us; by then we
    // already hold the new one.
    Ref& operator=(Ref&& other) noexcept {
        Ref old(std::exchange(pointer_, std::exchange(other.pointer_, nullptr)));
        return *this;
    }

    // Takes over the caller's reference.
    static Ref steal(T* pointer) noexcept { return Ref(pointer); }
    // Adds a reference.
    static Ref borrow(T* pointer) noexcept {
        Py_XINCREF(object(pointer));
        return Ref(pointer);
    }

    T* get() const noexcept { return pointer_; }
    T* operator->() const noexcept { return pointer_; }
    explicit operator bool() const noexcept { return pointer_ != nullptr; }
    T* release() noexcept { return std::exchange(pointer_, nullptr); }

private:
    explicit Ref(T* pointer) noexcept : pointer_(pointer) {}
    T* pointer_ = nullptr;
};

}  // namespace penstock::py
