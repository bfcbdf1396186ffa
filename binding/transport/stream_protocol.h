// A protocol that is native: a transport tells it what happens without a call into Python.
//
// The object that it belongs to is the transport's `protocol`, which keeps it alive. Where a call
// returns false or -1 an exception is set, as if a protocol's method had raised it.
#pragma once

#include <cstddef>
#include <span>

#include "py/python.h"

namespace penstock::py {

class StreamProtocol {
public:
    // The memory is the caller's again when this returns.
    virtual bool on_bytes(std::span<const std::byte> bytes) noexcept = 0;
    // The same for who would copy the bytes to keep them: keeps_bytes() says so.
    virtual bool on_object(PyObject* bytes) noexcept;
    virtual bool keeps_bytes() const noexcept { return false; }
    // Whether it would rather be read in a later turn: the kernel tells again of what waits.
    virtual bool puts_off_reading() noexcept { return false; }
    // As eof_received(): whether the transport stays open, which is 0, 1 or -1.
    virtual int on_eof() noexcept = 0;
    virtual bool on_pause_writing() noexcept = 0;
    virtual bool on_resume_writing() noexcept = 0;
    // `exception` may be None, and is borrowed.
    virtual bool on_lost(PyObject* exception) noexcept = 0;

protected:
    ~StreamProtocol() = default;
};

// The native side of `protocol`, or nullptr where it is a Python object like any other.
struct State;
StreamProtocol* native_protocol(State* state, PyObject* protocol) noexcept;

}  // namespace penstock::py
