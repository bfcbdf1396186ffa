// A socket address as Python's socket module spells it.
#pragma once

#include <optional>

#include "net/address.h"
#include "py/python.h"

namespace penstock::py {

// Whether sockaddr_object() spells an address of this family as the socket module does.
constexpr bool is_native_family(int family) noexcept {
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

// (host, port), (host, port, flow info, scope), a path, or (family, bytes): a new reference.
// None for no address.
PyObject* sockaddr_object(const Address& address) noexcept;

// What `object` means to a socket of `family`, where that can be told without a look-up and
// without a doubt. Nothing for names, and for what the socket module refuses: it has the words.
std::optional<Address> sockaddr_of(PyObject* object, int family) noexcept;

}  // namespace penstock::py
