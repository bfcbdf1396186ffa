// _core.ReadPipeTransport and _core.WritePipeTransport: asyncio's transports over one direction of
// a pipe, a FIFO, a terminal or a socket. They are SocketTransports of another kind: what differs
// between the kinds is asked where it differs, and their own is here.
#pragma once

#include <sys/types.h>

#include "transport/socket_transport.h"

namespace penstock::py {

struct PipeTransport {
    SocketTransport stream;
    dev_t device;  // which file it is: its number may mean another one where the owner of the
    ino_t inode;   // pipe has closed it behind our back
};

// Somebody else watches the transport's number from now on. False with OSError set.
bool leave_number(SocketTransport* transport) noexcept;

bool add_pipe_types(PyObject* module, State* state) noexcept;

}  // namespace penstock::py
