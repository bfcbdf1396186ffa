#include "loop/fd_table.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

#include "futures/future.h"
#include "py/arguments.h"
#include "sync/coroutine.h"
#include "transport/network.h"
#include "transport/pipe_transport.h"

namespace penstock::py {

namespace {

bool is_over(const State* state, PyObject* waiter) noexcept {
    return is_native_coroutine(waiter) ? is_wait_over(as_coroutine(waiter))
                                       : !is_pending(state, waiter);
}

void go_on(Loop* loop, PyObject* waiter) noexcept {
    if (is_native_coroutine(waiter))
        wake(as_coroutine(waiter));
    else
        complete_with_none(loop, waiter);
}

// Those of `waiters`, which may be nullptr, that were not cancelled meanwhile. False with
// MemoryError.
bool append_waiting(const State* state, PyObject* waiters, PyObject* list) noexcept {
    if (waiters == nullptr) return true;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(waiters); ++i)
        if (PyObject* each = PyList_GET_ITEM(waiters, i);
            !is_over(state, each) && PyList_Append(list, each) < 0)
            return false;
    return true;
}

bool are_over(const State* state, PyObject* waiters) noexcept {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(waiters); ++i)
        if (!is_over(state, PyList_GET_ITEM(waiters, i))) return false;
    return true;
}

}  // namespace

Ready FdTable::Entry::wanted() const noexcept {
    Ready wanted = Ready::kNone;
    if (reader_ != nullptr || read_waiters_ != nullptr) wanted = wanted | Ready::kRead;
    if (writer_ != nullptr || write_waiters_ != nullptr) wanted = wanted | Ready::kWrite;
    return wanted;
}

int FdTable::Entry::arm() noexcept {
    int error = loop_->reactor->backend().watch_borrowed(fd_, wanted(), *this);
    if (error == 0) armed_ = wanted();
    return error;
}

int FdTable::Entry::arm_for_waiter() noexcept {
    was_unwanted_ = false;
    return loop_->reactor->backend().keep_watching(fd_, wanted(), *this) ? 0 : arm();
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
    // Level-triggered: what nobody wants comes back in every turn. The first time whoever has to
    // do with the fd may be just about to wait for it again.
    if (std::exchange(was_unwanted_, is_unwanted) && is_unwanted) arm();
    // Last: where the loop has a call_soon() of its own, it may drop this entry.
    for (PyObject* futures : waiting) {
        if (futures == nullptr) continue;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(futures); ++i)
            go_on(loop, PyList_GET_ITEM(futures, i));
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
    // What was cancelled, perhaps at another file of this number. It dies last, for it may ask us.
    Ref<> over[2];
    for (Ready direction : {Ready::kRead, Ready::kWrite}) {
        PyObject*& waiters = found->second->waiters(direction);
        if (waiters != nullptr && are_over(loop_->state, waiters))
            over[direction == Ready::kRead] = Ref<>::steal(std::exchange(waiters, nullptr));
    }
    if (found->second->wanted() == Ready::kNone) {
        std::unique_ptr<Entry> entry = std::move(found->second);
        entries_.erase(found);
        entry->drop();
    } else {
        found->second->arm();  // where that fails the fd is gone: there is nothing to withdraw
    }
}

bool FdTable::add(int fd, PyObject* file, Ready direction, Handle* handle) noexcept {
    handle->persists = true;
    Ref<Handle> added = Ref<Handle>::steal(handle);
    Entry* watched = entry(fd);
    if (watched == nullptr) return false;
    Ref<Handle> old = Ref<Handle>::steal(std::exchange(watched->handle(direction), added.get()));
    if (int error = watched->arm(); error != 0) {
        watched->handle(direction) = old.release();
        settle(fd);
        raise_watch_error(loop_, error);
        return false;
    }
    added.release();
    watched->keep(file);
    if (old) cancel_handle(old.get());
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
    Ref<> future = Ref<>::steal(loop_create_future(object(loop_), nullptr));
    return future && add_waiter(fd, direction, future.get()) ? future.release() : nullptr;
}

bool FdTable::add_waiter(int fd, Ready direction, PyObject* waiter) noexcept {
    // First what may collect garbage, whose finalizers may change the table.
    Ref<> list = Ref<>::steal(PyList_New(0));
    Entry* watched = list ? entry(fd) : nullptr;
    if (watched == nullptr) return false;
    PyObject*& waiters = watched->waiters(direction);
    if (!append_waiting(loop_->state, waiters, list.get()) ||
        PyList_Append(list.get(), waiter) < 0) {
        PyObject* pending = take_exception();
        settle(fd);
        raise_exception(pending);
        return false;
    }
    Ref<> before = Ref<>::steal(std::exchange(waiters, list.release()));
    int error = watched->arm_for_waiter();
    if (error == 0) return true;
    list = Ref<>::steal(std::exchange(waiters, before.release()));  // others that wait go on
    settle(fd);
    raise_watch_error(loop_, error);
    return false;
}

void FdTable::remove_waiter(int fd, PyObject* coroutine) noexcept {
    auto found = entries_.find(fd);
    if (found == entries_.end()) return;
    for (Ready direction : {Ready::kRead, Ready::kWrite}) {
        PyObject*& waiters = found->second->waiters(direction);
        if (waiters == nullptr) continue;
        for (Py_ssize_t i = PyList_GET_SIZE(waiters); i-- > 0;) {
            if (PyList_GET_ITEM(waiters, i) != coroutine) continue;
            if (PyList_GET_SIZE(waiters) == 1)
                Py_CLEAR(waiters);
            else if (PyList_SetSlice(waiters, i, i + 1, nullptr) < 0)
                PyErr_Clear();  // no memory: it stays until the fd is ready
            return;
        }
    }
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
    if (!handle || !check_open(loop)) return nullptr;
    track(handle.get());
    if (!loop->fds->add(fd, given[0], direction, handle.release())) return nullptr;
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
