// The fds that add_reader(), add_writer() and the sock_* methods watch.
//
// An entry lives while somebody wants its fd. Callbacks of add_reader() are handles that stay;
// the sock_* methods wait with futures that complete once. What has been registered stays
// registered until events come that nobody wants, twice in a row: a socket that is read again and
// again costs no epoll_ctl but the one that tells whether the number still means the same file,
// which the backend puts off until the loop has nothing else to do (Backend::keep_watching).
#pragma once

#include <memory>
#include <unordered_map>

#include "loop/handle.h"
#include "loop/loop.h"
#include "reactor/backend.h"

namespace penstock::py {

class FdTable {
public:
    explicit FdTable(Loop* loop) noexcept : loop_(loop) {}
    ~FdTable() { clear(); }

    // `handle` (taken over) is called whenever `fd` is ready; an earlier one is cancelled.
    // `file` is what the caller knows the fd by. False with OSError set.
    bool add(int fd, PyObject* file, Ready direction, Handle* handle) noexcept;
    // The fd that was added by this very object, though it may be closed by now; or -1.
    int added_as(PyObject* file) const noexcept;
    // Whether anybody wants `fd`.
    bool is_wanted(int fd) const noexcept { return entries_.contains(fd); }
    // Whether there was one.
    bool remove(int fd, Ready direction) noexcept;
    // A future that completes when `fd` is ready once. nullptr with OSError set.
    PyObject* wait(int fd, Ready direction) noexcept;
    // `coroutine`, which is about to be parked, is woken up when `fd` is ready once. False with
    // OSError set.
    bool add_waiter(int fd, Ready direction, PyObject* coroutine) noexcept;
    // It waits no longer: the table lets it go. What is registered stays so.
    void remove_waiter(int fd, PyObject* coroutine) noexcept;
    // The fd is about to be closed: its callbacks are cancelled; who waits, waits for ever.
    void forget(int fd) noexcept;
    void clear() noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;

private:
    class Entry final : public Watcher {
    public:
        Entry(Loop* loop, int fd) noexcept : loop_(loop), fd_(fd) {}
        void on_ready(Ready events) noexcept override;
        Handle*& handle(Ready direction) noexcept {
            return direction == Ready::kRead ? reader_ : writer_;
        }
        PyObject*& waiters(Ready direction) noexcept {
            return direction == Ready::kRead ? read_waiters_ : write_waiters_;
        }
        Ready wanted() const noexcept;
        int arm() noexcept;  // 0, or -errno
        int arm_for_waiter() noexcept;
        void drop() noexcept;
        int traverse(visitproc visit, void* arg) const noexcept;
        // As with selectors, who adds an object keeps it alive, and may remove it when closed.
        void keep(PyObject* file) noexcept {
            if (file_ == nullptr && !PyLong_Check(file)) file_ = Py_NewRef(file);
        }
        bool is_added_as(PyObject* file) const noexcept { return file_ == file; }

    private:
        PyObject* serve(Ready direction) noexcept;  // the waiters: a new reference, or nullptr

        Loop* loop_;
        int fd_;
        Ready armed_ = Ready::kNone;
        bool was_unwanted_ = false;  // the last event, and nobody has begun to wait since
        PyObject* file_ = nullptr;   // unless it was added as a number
        Handle* reader_ = nullptr;
        Handle* writer_ = nullptr;
        PyObject* read_waiters_ = nullptr;  // lists of futures and coroutines
        PyObject* write_waiters_ = nullptr;
    };

    Entry* entry(int fd) noexcept;  // nullptr with MemoryError set
    void settle(int fd) noexcept;   // after something was taken away

    Loop* loop_;
    std::unordered_map<int, std::unique_ptr<Entry>> entries_;
};

// The fd behind an int or an object with fileno(); -1 with ValueError or TypeError set.
int fd_of(PyObject* file) noexcept;

PyObject* loop_add_reader(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_add_writer(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* loop_remove_reader(PyObject* self, PyObject* file);
PyObject* loop_remove_writer(PyObject* self, PyObject* file);
PyObject* loop_wait_readable(PyObject* self, PyObject* fd);
PyObject* loop_wait_writable(PyObject* self, PyObject* fd);
PyObject* loop_forget_fd(PyObject* self, PyObject* fd);
PyObject* loop_ensure_fd_no_transport(PyObject* self, PyObject* fd);

}  // namespace penstock::py
