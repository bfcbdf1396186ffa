#include "transport/lookups.h"

#include <netdb.h>

#include <cerrno>
#include <new>

#include "futures/future.h"
#include "py/types.h"
#include "transport/methods.h"
#include "transport/network.h"
#include "transport/sockaddr.h"

namespace penstock::py {
namespace {

PyObject* addresses_list(const AddressAnswer& answer) noexcept {
    Ref<> list = Ref<>::steal(PyList_New(0));
    if (!list) return nullptr;
    for (const ResolvedAddress& found : answer.addresses) {
        Ref<> address = Ref<>::steal(sockaddr_object(found.address));
        if (!address) return nullptr;
        Ref<> entry =
            Ref<>::steal(Py_BuildValue("(iiisO)", found.family, found.type, found.protocol,
                                       found.canonical_name.c_str(), address.get()));
        if (!entry || PyList_Append(list.get(), entry.get()) < 0) return nullptr;
    }
    return list.release();
}

// socket.gaierror, or OSError where the system says why.
PyObject* lookup_exception(State* state, const LookupError& error) noexcept {
    bool is_systems = error.code == EAI_SYSTEM;
    PyObject* kind = is_systems ? PyExc_OSError : state->gaierror;
    int code = is_systems ? error.system_error : error.code;
    return PyObject_CallFunction(kind, "is", code, error.text());
}

// Where memory is out the future learns just that.
void settle(Loop* loop, PyObject* future, const AddressAnswer& answer) noexcept {
    if (!answer.error)
        if (PyObject* list = addresses_list(answer)) return complete_with(loop, future, list);
    PyObject* exception = answer.error ? lookup_exception(loop->state, answer.error) : nullptr;
    fail_with(loop, future, exception != nullptr ? exception : take_exception());
}

}  // namespace

class Lookups::Question final : public Lookup, public Completion {
public:
    Question(Lookups* lookups, std::uint64_t number, AddressQuery query)
        : letter{make_word(WordKind::kCompletion, static_cast<Completion*>(this))},
          lookups_(lookups),
          number_(number),
          query_(std::move(query)) {}

    void ask() noexcept override { answer_ = look_up(query_); }
    void complete(Loop*) noexcept override {
        std::unique_ptr<Question> self(this);
        lookups_->answer(number_, answer_);
    }
    void drop() noexcept override { delete this; }

    Letter letter;  // the answer comes in

private:
    Lookups* lookups_;  // touched on the loop's thread only, and while the loop is open
    std::uint64_t number_;
    AddressQuery query_;
    AddressAnswer answer_;
};

Lookups::~Lookups() {
    resolver_.reset();
    auto waiting = std::exchange(waiting_, {});
    for (auto& [number, future] : waiting) Py_DECREF(future);
}

PyObject* Lookups::resolve(AddressQuery query) noexcept {
    Ref<> future = Ref<>::steal(loop_create_future(object(loop_), nullptr));
    if (!future) return nullptr;
    try {
        if (auto answer = look_up_literal(query)) {
            settle(loop_, future.get(), *answer);
            return future.release();
        }
        std::uint64_t number = next_number_++;
        auto question = std::make_unique<Question>(this, number, std::move(query));
        waiting_.emplace(number, future.get());
        if (!submit(std::move(question))) {
            waiting_.erase(number);
            return nullptr;
        }
        Py_INCREF(future.get());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return future.release();
}

bool Lookups::submit(std::unique_ptr<Question> question) noexcept {
    int error = -ENOMEM;
    try {
        if (resolver_ == nullptr) {
            Reactor* reactor = loop_->reactor;
            resolver_ = std::make_unique<Resolver>([reactor](std::unique_ptr<Lookup> lookup) {
                reactor->post(static_cast<Question*>(lookup.release())->letter);
            });
        }
        error = resolver_->submit(std::move(question));
    } catch (const std::bad_alloc&) {
    }
    if (error == 0) return true;
    if (error == -ENOMEM)
        PyErr_NoMemory();
    else
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
    return false;
}

void Lookups::answer(std::uint64_t number, const AddressAnswer& answer) noexcept {
    auto found = waiting_.find(number);
    if (found == waiting_.end()) return;
    Ref<> future = Ref<>::steal(found->second);
    waiting_.erase(found);
    settle(loop_, future.get(), answer);
}

int Lookups::traverse(visitproc visit, void* arg) const noexcept {
    for (const auto& [number, future] : waiting_) Py_VISIT(future);
    return 0;
}

namespace {

// bytes, str or None.
bool read_name(PyObject* value, std::optional<std::string>& out) noexcept {
    if (value == Py_None) return true;
    const char* text = nullptr;
    Py_ssize_t size = 0;
    if (PyBytes_Check(value)) {
        text = PyBytes_AS_STRING(value);
        size = PyBytes_GET_SIZE(value);
    } else if (PyUnicode_Check(value)) {
        text = PyUnicode_AsUTF8AndSize(value, &size);
        if (text == nullptr) return false;
    } else {
        PyErr_Format(PyExc_TypeError, "expected str, bytes or None, not %.200s",
                     Py_TYPE(value)->tp_name);
        return false;
    }
    try {
        out.emplace(text, static_cast<std::size_t>(size));
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    if (out->find('\0') == std::string::npos) return true;
    PyErr_SetString(PyExc_ValueError, "embedded null byte");
    return false;
}

}  // namespace

PyObject* loop_resolve(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Loop* loop = as_loop(self);
    if (count != 6 || keyword_count(names) != 0) {
        PyErr_SetString(PyExc_TypeError,
                        "_resolve() takes host, port, family, type, proto and flags");
        return nullptr;
    }
    if (!check_open(loop)) return nullptr;
    AddressQuery query;
    Ref<> port =
        PyLong_Check(args[1]) ? Ref<>::steal(PyObject_Str(args[1])) : Ref<>::borrow(args[1]);
    if (!port || !read_name(args[0], query.host) || !read_name(port.get(), query.service))
        return nullptr;
    int* const numbers[] = {&query.family, &query.type, &query.protocol, &query.flags};
    for (int i = 0; i < 4; ++i) {
        long value = PyLong_AsLong(args[2 + i]);
        if (value == -1 && PyErr_Occurred()) return nullptr;
        *numbers[i] = static_cast<int>(value);
    }
    return loop->network->lookups().resolve(std::move(query));
}

}  // namespace penstock::py
