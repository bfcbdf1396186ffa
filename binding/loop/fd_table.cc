#include "loop/fd_table.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

#include "futures/future.h"
#include "py/arguments.h"
#include "transport/network.h"
#include "transport/pipe_transport.h"

namespace penstock::py {

Ready FdTable::Entry::wanted() const noexcept {
    Ready wanted = Ready::kNone;
    if (reader_ != nullptr || read_waiters_ != nullptr) wanted = wanted | Ready::kRead;
    if (writer_ != nullptr || write_waiters_ != nullptr) wanted = wanted | Ready::kWrite;
    return wanted;
}

bool FdTable::Entry::arm() noexcept {
    int error = loop_->reactor->backend().watch(fd_, wanted(), *this);
    if (error != 0) {
        raise_watch_error(loop_, error);
        return false;
    }
    armed_ = wanted();
    return true;
}

void FdTable::Entry::drop() noexcept {
    if (armed_ != Ready::kNone) loop_->reactor->backend().forget(fd_);
    armed_ = Ready::kNone;
    for (Ready direction : {Ready::kRead, Ready::kWrite}) {
        Handle* old = std::exchange(handle(direction), nullptr);
        if (old != nullptr) {
            cancel_handle(old);
            Py_DECREF(object(old));
        }
        Py_CLEAR(waiters(direction));
    }
    Py_CLEAR(file_);
}

int FdTable::Entry::traverse(visitproc visit, void* arg) const noexcept {
    Py_VISIT(object(reader_));
    Py_VISIT(object(writer_));
    Py_VISIT(read_waiters_);
    Py_VISIT(write_waiters_);
    Py_VISIT(file_);
    return 0;
}

PyObject* FdTable::Entry::serve(Ready direction) noexcept {
    Reactor& reactor = *loop_->reactor;
    // What it has caused the last time may remove it, and must come before it is called again.
    if (Handle* called = handle(direction);
        called != nullptr && reactor.ready().has_run(called->caused))
        reactor.push_completed(make_word(WordKind::kHandle, Py_NewRef(object(called))));
    return std::exchange(waiters(direction), nullptr);
}

void FdTable::Entry::on_ready(Ready events) noexcept {
    bool is_unwanted = !has(wanted(), events);
    Loop* loop = loop_;
    PyObject* waiting[] = {has(events, Ready::kRead) ? serve(Ready::kRead) : nullptr,
                           has(events, Ready::kWrite) ? serve(Ready::kWrite) : nullptr};
    // Level-triggered: what nobody wants would come back in every turn.
    if (is_unwanted && loop->reactor->backend().watch(fd_, wanted(), *this) == 0) armed_ = wanted();
    // Last: where the loop has a call_soon() of its own, it may drop this entry.
    for (PyObject* futures : waiting) {
        if (futures == nullptr) continue;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(futures); ++i)
            complete_with_none(loop, PyList_GET_ITEM(futures, i));
        Py_DECREF(futures);
    }
}

FdTable::Entry* FdTable::entry(int fd) noexcept {
    try {
        auto found = entries_.find(fd);
        if (found == entries_.end())
            found = entries_.emplace(fd, std::make_unique<Entry>(loop_, fd)).first;
        return found->second.get();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return nullptr;
    }
}

void FdTable::settle(int fd) noexcept {
    auto found = entries_.find(fd);
    if (found == entries_.end()) return;
    if (found->second->wanted() == Ready::kNone) {
        std::unique_ptr<Entry> entry = std::move(found->second);
        entries_.erase(found);
        entry->drop();
    } else if (!found->second->arm()) {
        PyErr_Clear();  // the fd is gone: there is nothing to withdraw
    }
}

bool FdTable::add(int fd, PyObject* file, Ready direction, Handle* handle) noexcept {
    handle->persists = true;
    Entry* watched = entry(fd);
    if (watched == nullptr) return Py_DECREF(object(handle)), false;
    Handle* old = std::exchange(watched->handle(direction), handle);
    if (!watched->arm()) {
        watched->handle(direction) = old;
        Py_DECREF(object(handle));
        PyObject* pending = take_exception();
        settle(fd);
        raise_exception(pending);
        return false;
    }
    watched->keep(file);
    if (old != nullptr) {
        cancel_handle(old);
        Py_DECREF(object(old));
    }
    return true;
}

int FdTable::added_as(PyObject* file) const noexcept {
    for (const auto& [fd, entry] : entries_)
        if (entry->is_added_as(file)) return fd;
    return -1;
}

bool FdTable::remove(int fd, Ready direction) noexcept {
    auto found = entries_.find(fd);
    if (found == entries_.end()) return false;
    Handle* old = std::exchange(found->second->handle(direction), nullptr);
    if (old == nullptr) return false;
    settle(fd);
    cancel_handle(old);
    Py_DECREF(object(old));
    return true;
}

PyObject* FdTable::wait(int fd, Ready direction) noexcept {
    Entry* watched = entry(fd);
    if (watched == nullptr) return nullptr;
    PyObject*& waiters = watched->waiters(direction);
    if (waiters == nullptr) {
        waiters = PyList_New(0);
        if (waiters == nullptr) return nullptr;
    } else {
        // Those that were cancelled meanwhile.
        for (Py_ssize_t i = PyList_GET_SIZE(waiters); i-- > 0;)
            if (!is_pending(loop_->state, PyList_GET_ITEM(waiters, i)))
                if (PyList_SetSlice(waiters, i, i + 1, nullptr) < 0) return nullptr;
    }
    PyObject* future = loop_create_future(object(loop_), nullptr);
    if (future == nullptr || PyList_Append(waiters, future) < 0 || !watched->arm()) {
        Py_XDECREF(future);
        PyObject* pending = take_exception();
        Py_CLEAR(watched->waiters(direction));
        settle(fd);
        raise_exception(pending);
        return nullptr;
    }
    return future;
}

void FdTable::forget(int fd) noexcept {
    auto found = entries_.find(fd);
    if (found == entries_.end()) return;
    std::unique_ptr<Entry> entry = std::move(found->second);
    entries_.erase(found);
    entry->drop();
}

void FdTable::clear() noexcept {
    auto entries = std::exchange(entries_, {});
    for (auto& [fd, entry] : entries) entry->drop();
}

int FdTable::traverse(visitproc visit, void* arg) const noexcept {
    for (const auto& [fd, entry] : entries_)
        if (int stop = entry->traverse(visit, arg); stop != 0) return stop;
    return 0;
}

// ---- methods ---------------------------------------------------------------------------------

namespace {

// What the file says of its number, be that one or not. Nothing with an exception set.
Ref<> number_of(PyObject* file) noexcept {
    Ref<> said = PyLong_Check(file) ? Ref<>::borrow(file)
                                    : Ref<>::steal(PyObject_CallMethod(file, "fileno", nullptr));
    if (said && PyLong_Check(said.get())) return said;
    if (!said && !PyErr_ExceptionMatches(PyExc_AttributeError) &&
        !PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError))
        return {};
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "Invalid file object: %R", file);
    return {};
}

// Larger than any descriptor, or negative, where it is so.
long clipped(PyObject* number) noexcept {
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    return overflow > 0 ? LONG_MAX : overflow < 0 ? LONG_MIN : value;
}

// -1 with an exception set where it is no descriptor.
int to_fd(PyObject* number) noexcept {
    long value = clipped(number);
    if (value >= 0 && value <= INT_MAX) return static_cast<int>(value);
    if (value < 0)
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %R", number);
    else
        PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to C int");
    return -1;
}

}  // namespace

int fd_of(PyObject* file) noexcept {
    Ref<> number = number_of(file);
    return number ? to_fd(number.get()) : -1;
}

namespace {

PyObject* add(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
              Ready direction, const char* function) noexcept {
    static constexpr const char* kNames[] = {"fd", "callback"};
    Loop* loop = as_loop(self);
    PyObject* given[] = {nullptr, nullptr};  // file, callback
    if (!bind({function, kNames, 2, 2, true}, args, count, names, given)) return nullptr;
    Ref<> free = Ref<>::steal(loop_ensure_fd_no_transport(self, given[0]));
    if (!free) return nullptr;
    if (!check_open(loop)) return nullptr;
    int fd = fd_of(given[0]);
    if (fd < 0) return nullptr;
    Py_ssize_t rest = std::max<Py_ssize_t>(count - 2, 0);
    Ref<Handle> handle =
        Ref<Handle>::steal(new_handle(loop, given[1], args + count - rest, rest, nullptr));
    // Again: fileno() may have closed it.
    if (!handle || !check_open(loop) || !loop->fds->add(fd, given[0], direction, handle.release()))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* remove(PyObject* self, PyObject* file, Ready direction) noexcept {
    Loop* loop = as_loop(self);
    Ref<> number = number_of(file);
    if (!number) return nullptr;
    long value = clipped(number.get());
    if (value > INT_MAX) Py_RETURN_FALSE;
    if (value >= 0) {
        Ref<> free = Ref<>::steal(loop_ensure_fd_no_transport(self, file));
        if (!free) return nullptr;
    }
    // Before the reactor: the table's callbacks go with it, and may ask as they die.
    if (loop->fds == nullptr) Py_RETURN_FALSE;
    int fd = value >= 0 ? static_cast<int>(value) : loop->fds->added_as(file);
    if (fd < 0) {
        to_fd(number.get());
        return nullptr;
    }
    return PyBool_FromLong(loop->fds->remove(fd, direction));
}

PyObject* wait(PyObject* self, PyObject* file, Ready direction) noexcept {
    Loop* loop = as_loop(self);
    int fd = fd_of(file);
    return fd < 0 || !check_open(loop) ? nullptr : loop->fds->wait(fd, direction);
}

}  // namespace

PyObject* loop_add_reader(PyObject* self, PyObject* const* args, Py_ssize_t count,
                          PyObject* names) {
    return add(self, args, count, names, Ready::kRead, "add_reader");
}
PyObject* loop_add_writer(PyObject* self, PyObject* const* args, Py_ssize_t count,
                          PyObject* names) {
    return add(self, args, count, names, Ready::kWrite, "add_writer");
}
PyObject* loop_remove_reader(PyObject* self, PyObject* file) {
    return remove(self, file, Ready::kRead);
}
PyObject* loop_remove_writer(PyObject* self, PyObject* file) {
    return remove(self, file, Ready::kWrite);
}
PyObject* loop_wait_readable(PyObject* self, PyObject* fd) { return wait(self, fd, Ready::kRead); }
PyObject* loop_wait_writable(PyObject* self, PyObject* fd) { return wait(self, fd, Ready::kWrite); }

PyObject* loop_forget_fd(PyObject* self, PyObject* file) {
    Loop* loop = as_loop(self);
    int fd = fd_of(file);
    if (fd < 0) return nullptr;
    if (loop->fds != nullptr) loop->fds->forget(fd);
    Py_RETURN_NONE;
}

PyObject* loop_ensure_fd_no_transport(PyObject* self, PyObject* file) {
    Loop* loop = as_loop(self);
    int fd = fd_of(file);
    if (fd < 0) return nullptr;
    Transport* transport = loop->network != nullptr ? loop->network->at(fd) : nullptr;
    if (transport != nullptr && is_pipe(transport))
        return leave_number(static_cast<SocketTransport*>(transport)) ? Py_NewRef(Py_None)
                                                                      : nullptr;
    if (transport == nullptr || transport->is_closing) Py_RETURN_NONE;
    PyErr_Format(PyExc_RuntimeError, "File descriptor %R is used by transport %R", file,
                 object(transport));
    return nullptr;
}

}  // namespace penstock::py
