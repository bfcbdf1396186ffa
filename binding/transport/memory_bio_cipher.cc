#include "transport/memory_bio_cipher.h"

namespace penstock::py {

using tls::Outcome;
using tls::Transfer;

namespace {

// asyncio goes on after these two: more has to arrive.
Transfer not_done(TlsLibrary* library) noexcept {
    if (!PyErr_ExceptionMatches(library->want_read) &&
        !PyErr_ExceptionMatches(library->syscall_error))
        return {Outcome::kFailed, 0};
    PyErr_Clear();
    return {Outcome::kWantsMore, 0};
}

// A view of foreign memory for the time of one call.
class Borrowed {
public:
    Borrowed(const std::byte* start, std::size_t size, int flags) noexcept
        : view_(Ref<>::steal(
              PyMemoryView_FromMemory(const_cast<char*>(reinterpret_cast<const char*>(start)),
                                      static_cast<Py_ssize_t>(size), flags))) {}
    ~Borrowed() {
        if (!view_) return;
        PyObject* pending = take_exception();
        Ref<> done = Ref<>::steal(PyObject_CallMethod(view_.get(), "release", nullptr));
        if (!done) PyErr_WriteUnraisable(view_.get());
        if (pending != nullptr) raise_exception(pending);
    }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    PyObject* get() const noexcept { return view_.get(); }

private:
    Ref<> view_;
};

}  // namespace

Transfer read_by_method(TlsLibrary* library, PyObject* sslobject,
                        std::span<std::byte> into) noexcept {
    Borrowed view(into.data(), into.size(), PyBUF_WRITE);
    if (view.get() == nullptr) return {Outcome::kFailed, 0};
    Ref<> read = Ref<>::steal(PyObject_CallMethod(
        sslobject, "read", "nO", static_cast<Py_ssize_t>(into.size()), view.get()));
    Py_ssize_t count = read ? PyLong_AsSsize_t(read.get()) : -1;
    if (count < 0) return not_done(library);
    if (count == 0) return {Outcome::kClosed, 0};
    return {Outcome::kDone, static_cast<std::size_t>(count)};
}

Transfer write_by_method(TlsLibrary* library, PyObject* sslobject,
                         std::span<const std::byte> plaintext) noexcept {
    Borrowed view(plaintext.data(), plaintext.size(), PyBUF_READ);
    if (view.get() == nullptr) return {Outcome::kFailed, 0};
    Ref<> written = Ref<>::steal(PyObject_CallMethod(sslobject, "write", "O", view.get()));
    Py_ssize_t count = written ? PyLong_AsSsize_t(written.get()) : -1;
    if (count < 0) return not_done(library);
    return {Outcome::kDone, static_cast<std::size_t>(count)};
}

std::size_t MemoryBioCipher::pending(PyObject* bio) noexcept {
    PyObject* outer = take_exception();
    Ref<> number = Ref<>::steal(PyObject_GetAttrString(bio, "pending"));
    std::size_t bytes = number ? PyLong_AsSize_t(number.get()) : 0;
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(bio);
        bytes = 0;
    }
    if (outer != nullptr) raise_exception(outer);
    return bytes;
}

bool MemoryBioCipher::feed(std::span<const std::byte> ciphertext) noexcept {
    Borrowed view(ciphertext.data(), ciphertext.size(), PyBUF_READ);
    Ref<> done = Ref<>::steal(view.get() != nullptr
                                  ? PyObject_CallMethod(incoming_.get(), "write", "O", view.get())
                                  : nullptr);
    if (done) return true;
    PyErr_Clear();  // the caller says that memory is out
    return false;
}

tls::Buffer MemoryBioCipher::take_output() noexcept {
    tls::Buffer output = library_->pool.take();
    PyObject* outer = take_exception();
    Ref<> bytes = Ref<>::steal(PyObject_CallMethod(outgoing_.get(), "read", nullptr));
    if (!bytes || !PyBytes_Check(bytes.get()) ||
        !output.append({reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(bytes.get())),
                        static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get()))}))
        PyErr_WriteUnraisable(outgoing_.get());
    if (outer != nullptr) raise_exception(outer);
    return output;
}

}  // namespace penstock::py
