// The child processes whose end the loop waits for. Each has a handle, which is called once, as
// a reader's is; who is called reaps the child.
#pragma once

#include <memory>
#include <unordered_map>

#include "loop/handle.h"
#include "loop/loop.h"
#include "net/process.h"

namespace penstock::py {

class Children {
public:
    explicit Children(Loop* loop) noexcept : loop_(loop) {}
    ~Children();
    Children(const Children&) = delete;
    Children& operator=(const Children&) = delete;

    // `handle` (taken over) is called once the process has ended. False with OSError set, where the
    // kernel gives no pidfd.
    bool watch(pid_t pid, Handle* handle) noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;

private:
    class Child final : public ProcessWatch::Observer {
    public:
        Child(Children* children, Handle* called) noexcept
            : process(*children->loop_->reactor, *this), handle(called), children_(children) {}
        void on_exited() noexcept override;

        ProcessWatch process;
        Handle* handle;

    private:
        Children* children_;
    };

    Loop* loop_;
    // By themselves: the number of a child that somebody else has reaped may be another's by now.
    std::unordered_map<Child*, std::unique_ptr<Child>> children_;
};

PyObject* loop_watch_child(PyObject* self, PyObject* const* args, Py_ssize_t count);

}  // namespace penstock::py
