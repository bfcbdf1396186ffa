// _core.DatagramTransport: asyncio's transport over a datagram socket, connected or not.
//
// Addresses that are literals or paths, and the families that have them, are sent to and received
// from natively; for the rest (host names in sendto(), and other families) the socket object's own
// methods are called, which look names up as asyncio does: blocking.
//
// What a datagram is like to its program is asyncio's, version by version: from CPython 3.13 on
// empty datagrams are sent, and each counts 8 bytes more in the queue.
#pragma once

#include "net/address.h"
#include "net/datagram.h"
#include "transport/transport.h"

namespace penstock::py {

struct DatagramTransport;

// The kernel's side of it, and where the last datagram came from.
class DatagramEndpoint final : public Endpoint {
public:
    DatagramEndpoint(DatagramTransport* transport, Backend& backend, int fd) noexcept
        : socket(backend, fd, *this, kHas313 ? 8 : 0), transport_(transport) {}
    ~DatagramEndpoint();

    Channel& channel() noexcept override { return socket; }
    void destroy() noexcept override { delete this; }
    void on_readable() noexcept override;
    void on_written() noexcept override;
    void on_write_error(int error) noexcept override;

    DatagramChannel socket;
    Address address;

private:
    DatagramTransport* transport_;
};

struct DatagramTransport : Transport {
    DatagramEndpoint* datagrams;  // the endpoint, while there is one
    PyObject* remote;             // the only address to send to, or nullptr
    PyObject* known;              // datagrams->address as an object, or nullptr
    int family;
    bool has_peer;  // the socket is connected
};

inline DatagramTransport* as_datagram_transport(PyObject* object) noexcept {
    return reinterpret_cast<DatagramTransport*>(object);
}

// datagram_read.cc
void receive_datagrams(DatagramTransport* transport) noexcept;
// Calls protocol.error_received() with the pending OSError. False with an exception set, which is
// what that call has raised.
bool tell_error(Transport* transport) noexcept;

// datagram_send.cc
PyObject* transport_sendto(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names);

bool add_datagram_transport_type(PyObject* module, State* state);

}  // namespace penstock::py
