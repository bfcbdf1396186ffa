#include "loop/children.h"

#include <new>

#include "py/os_error.h"
#include "py/types.h"

namespace penstock::py {

Children::~Children() {
    auto children = std::exchange(children_, {});
    for (auto& [key, child] : children) {
        Handle* handle = child->handle;
        child.reset();
        cancel_handle(handle);
        Py_DECREF(object(handle));
    }
}

void Children::Child::on_exited() noexcept {
    Children* children = children_;
    children->loop_->reactor->push_completed(make_word(WordKind::kHandle, object(handle)));
    children->children_.erase(this);
}

bool Children::watch(pid_t pid, Handle* handle) noexcept {
    try {
        auto child = std::make_unique<Child>(this, handle);
        Child* key = child.get();
        int error = child->process.start(pid);
        if (error == 0) {
            children_.emplace(key, std::move(child));
            return true;
        }
        raise_os_error(-error, child->process.failed_call());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    Py_DECREF(object(handle));
    return false;
}

int Children::traverse(visitproc visit, void* arg) const noexcept {
    for (const auto& [key, child] : children_) Py_VISIT(object(child->handle));
    return 0;
}

PyObject* loop_watch_child(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    Loop* loop = as_loop(self);
    if (count < 2)
        return PyErr_Format(PyExc_TypeError, "_watch_child() needs a process and a callback");
    long pid = PyLong_AsLong(args[0]);
    if (pid == -1 && PyErr_Occurred()) return nullptr;
    Ref<Handle> handle =
        Ref<Handle>::steal(new_handle(loop, args[1], args + 2, count - 2, nullptr));
    // Last: __index__() may have closed it.
    if (!handle || !check_open(loop)) return nullptr;
    track(handle.get());
    if (loop->children == nullptr) loop->children = new (std::nothrow) Children(loop);
    if (loop->children == nullptr) return PyErr_NoMemory();
    if (!loop->children->watch(static_cast<pid_t>(pid), handle.release())) return nullptr;
    Py_RETURN_NONE;
}

}  // namespace penstock::py
