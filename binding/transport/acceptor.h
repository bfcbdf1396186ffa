// Taking in a server's connections: a listening socket, the factory of its protocols, and for
// each connection a socket object, a protocol and a transport.
#pragma once

#include "loop/loop.h"
#include "py/python.h"

namespace penstock::py {

// No callback comes any more; what it holds is let go.
void stop_acceptor(PyObject* acceptor) noexcept;

bool add_acceptor_type(PyObject* module, State* state);

}  // namespace penstock::py
