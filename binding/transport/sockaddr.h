// A socket address as Python's socket module spells it.
#pragma once

#include "net/address.h"
#include "py/python.h"

namespace penstock::py {

// (host, port), (host, port, flow info, scope), a path, or (family, bytes): a new reference.
// None for no address.
PyObject* sockaddr_object(const Address& address) noexcept;

}  // namespace penstock::py
