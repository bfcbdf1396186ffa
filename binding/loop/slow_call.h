// Debug mode's "Executing <…> took 0.123 seconds".
#pragma once

#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

// `what` is a Handle or a native task.
void report_slow_call(Loop* loop, PyObject* what, double seconds) noexcept;

// Times, in debug mode, a scope in which the loop calls user code without a Handle. asyncio has
// one there, and its log line shows it: ours reads the same, and says who was called.
class TimedCall {
public:
    // "<Handle SocketTransport._read_ready() for <protocol>>": `owner` is the transport, `method`
    // what asyncio would have called, `receiver` the protocol. All must outlive the scope's
    // beginning only.
    TimedCall(Loop* loop, PyObject* owner, const char* method, PyObject* receiver) noexcept {
        if (loop->is_debug) [[unlikely]]
            begin(loop, owner, method, receiver);
    }
    ~TimedCall() {
        if (loop_ != nullptr) [[unlikely]]
            end();
    }
    TimedCall(const TimedCall&) = delete;
    TimedCall& operator=(const TimedCall&) = delete;

private:
    void begin(Loop* loop, PyObject* owner, const char* method, PyObject* receiver) noexcept;
    void end() noexcept;

    Loop* loop_ = nullptr;  // strong, as the next two
    PyObject* owner_ = nullptr;
    PyObject* receiver_ = nullptr;
    const char* method_ = nullptr;
    TimePoint started_;
};

}  // namespace penstock::py
