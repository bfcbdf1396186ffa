// An argument's bytes, or those of several, and how to keep them.
#pragma once

#include <cstddef>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "net/chunk.h"
#include "py/python.h"
#include "py/ref.h"

namespace penstock::py {

// The bytes of an argument for the time of a call.
class View {
public:
    View() noexcept = default;
    // Memory of ours that others will use again: what is kept of it is copied.
    explicit View(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
    ~View() {
        if (is_exported_) PyBuffer_Release(&buffer_);
    }
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    View(View&& other) noexcept
        : bytes_(other.bytes_),
          owner_(other.owner_),
          buffer_(other.buffer_),
          is_exported_(std::exchange(other.is_exported_, false)) {}

    // False with an exception set.
    bool open(PyObject* data) noexcept {
        if (PyBytes_Check(data)) {
            owner_ = data;
            bytes_ = {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(data)),
                      static_cast<std::size_t>(PyBytes_GET_SIZE(data))};
            return true;
        }
        if (PyObject_GetBuffer(data, &buffer_, PyBUF_SIMPLE) < 0) return false;
        is_exported_ = true;
        bytes_ = {static_cast<const std::byte*>(buffer_.buf),
                  static_cast<std::size_t>(buffer_.len)};
        // A view of a bytes object: nobody can change what it shows.
        if (PyMemoryView_Check(data)) {
            PyObject* base = PyMemoryView_GET_BASE(data);
            if (base != nullptr && PyBytes_CheckExact(base)) owner_ = base;
        }
        return true;
    }

    std::span<const std::byte> bytes() const noexcept { return bytes_; }

    // What is left behind the first `sent` bytes, to keep. Nothing where memory is out.
    std::optional<Chunk> rest(std::size_t sent) const noexcept {
        if (owner_ == nullptr) return Chunk::copy(bytes_.subspan(sent));
        return Chunk(bytes_.subspan(sent), Py_NewRef(owner_),
                     [](void* owner) noexcept { Py_DECREF(static_cast<PyObject*>(owner)); });
    }

private:
    std::span<const std::byte> bytes_;
    PyObject* owner_ = nullptr;  // borrowed: immutable, and the bytes are its own
    Py_buffer buffer_;
    bool is_exported_ = false;
};

// Of writelines(): all that have bytes.
class Views {
public:
    // False with an exception set.
    bool open(PyObject* iterable) noexcept {
        // A list may lose its items to what a __buffer__() does: views keep none of them alive.
        lines_ = Ref<>::steal(PySequence_Tuple(iterable));
        // Up to 3.11 asyncio joins the lines, and says what bytes.join() does.
        if (!lines_ && !kHas312 && Py_TYPE(iterable)->tp_iter == nullptr &&
            PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_SetString(PyExc_TypeError, "can only join an iterable");
        if (!lines_) return false;
        Py_ssize_t count = PyTuple_GET_SIZE(lines_.get());
        try {
            views_.reserve(static_cast<std::size_t>(count));
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return false;
        }
        for (Py_ssize_t i = 0; i < count; ++i) {
            PyObject* line = PyTuple_GET_ITEM(lines_.get(), i);
            if (!PyObject_CheckBuffer(line)) {
                if (kHas312)
                    PyErr_Format(PyExc_TypeError,
                                 "memoryview: a bytes-like object is required, not '%s'",
                                 Py_TYPE(line)->tp_name);
                else
                    PyErr_Format(PyExc_TypeError,
                                 "sequence item %zd: expected a bytes-like object, %s found", i,
                                 Py_TYPE(line)->tp_name);
                return false;
            }
            View view;
            if (!view.open(line)) return false;
            if (!view.bytes().empty()) views_.push_back(std::move(view));
        }
        return true;
    }

    std::span<const View> all() const noexcept { return views_; }

private:
    Ref<> lines_;
    std::vector<View> views_;
};

}  // namespace penstock::py
