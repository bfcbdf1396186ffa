// loop.getaddrinfo() as far as it is native: questions to the resolver's threads, and the futures
// that wait for the answers. The futures stay here, on the loop's thread; a thread knows its
// question only by number.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "loop/loop.h"
#include "net/lookup.h"
#include "net/resolver.h"

namespace penstock::py {

class Lookups {
public:
    explicit Lookups(Loop* loop) noexcept : loop_(loop) {}
    ~Lookups();
    Lookups(const Lookups&) = delete;
    Lookups& operator=(const Lookups&) = delete;

    // A new future of the answer: it is there already where no name has to be looked up.
    PyObject* resolve(AddressQuery query) noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;

private:
    class Question;

    void answer(std::uint64_t number, const AddressAnswer& answer) noexcept;
    bool submit(std::unique_ptr<Question> question) noexcept;  // false with an exception set

    Loop* loop_;
    std::unordered_map<std::uint64_t, PyObject*> waiting_;
    std::uint64_t next_number_ = 0;
    std::unique_ptr<Resolver> resolver_;  // made on demand
};

}  // namespace penstock::py
