#include "transport/network.h"

#include <algorithm>
#include <new>
#include <utility>

#include "transport/acceptor.h"
#include "transport/socket_transport.h"

namespace penstock::py {

Network::Network(Loop* loop)
    : loop_(loop),
      acceptors_(PyDict_New()),
      lookups_(loop),
      scratch_(std::make_unique_for_overwrite<std::byte[]>(kMostBytesARead)) {
    if (acceptors_ == nullptr) {
        PyErr_Clear();
        throw std::bad_alloc();
    }
}

Network::~Network() {
    Py_ssize_t position = 0;
    PyObject *sock, *acceptor;
    while (PyDict_Next(acceptors_, &position, &sock, &acceptor)) stop_acceptor(acceptor);
    while (transports_.next != &transports_) {
        Ref<Transport> transport = Ref<Transport>::borrow(transport_of(transports_.next));
        unlink(transport.get());
        transport->endpoint->channel().detach();
        settle_hold(transport.get());
    }
    for (Block& block : blocks_) Py_CLEAR(block.bytes);
    Py_CLEAR(acceptors_);
}

void Network::link(Transport* transport) {
    auto index = static_cast<std::size_t>(transport->fd);
    if (index >= by_fd_.size()) by_fd_.resize(std::max(index + 1, 2 * by_fd_.size()));
    // One that is watched by a duplicate has left the number to somebody else.
    if (transport->endpoint->channel().fd() == transport->fd) by_fd_[index] = transport;
    ListNode& node = transport->node;
    node = {transports_.next, &transports_};
    node.next->prev = transports_.next = &node;
}

void Network::unlink(Transport* transport) noexcept {
    ListNode& node = transport->node;
    if (node.next == nullptr) return;
    node.next->prev = node.prev;
    node.prev->next = node.next;
    node = {nullptr, nullptr};
    Network* network = transport->loop->network;
    if (network == nullptr) return;
    Transport*& slot = network->by_fd_[static_cast<std::size_t>(transport->fd)];
    if (slot == transport) slot = nullptr;
}

PyObject* Network::transports_of(const PyObject* server) const noexcept {
    Ref<> found = Ref<>::steal(PyList_New(0));
    for (const ListNode* node = transports_.next; found && node != &transports_; node = node->next)
        if (Transport* transport = transport_of(node); transport->server == server)
            if (PyList_Append(found.get(), object(transport)) < 0) return nullptr;
    return found.release();
}

PyObject* Network::take_block(std::size_t size) noexcept {
    auto found = std::find_if(blocks_.begin(), blocks_.end(), [size](const Block& block) {
        return block.bytes != nullptr && Py_REFCNT(block.bytes) == 1 && block.capacity >= size &&
               block.capacity <= 2 * size;
    });
    if (found == blocks_.end()) {
        PyObject* fresh = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
        if (fresh == nullptr) return nullptr;
        --found;  // what was used least recently gives way
        Py_XDECREF(found->bytes);
        *found = {fresh, size};
    } else {
        resize_block(found->bytes, found->capacity);
    }
    std::rotate(blocks_.begin(), found, found + 1);
    return Py_NewRef(blocks_.front().bytes);
}

bool Network::takes_handshake() noexcept {
    TimePoint asked = loop_->reactor->polled();
    return std::exchange(handshaken_, asked) != asked || coarse_now() - asked < Reactor::kSlice;
}

int Network::traverse(visitproc visit, void* arg) const noexcept {
    Py_VISIT(acceptors_);
    for (const ListNode* node = transports_.next; node != &transports_; node = node->next)
        if (Transport* transport = transport_of(node); transport->is_held)
            Py_VISIT(object(transport));
    return lookups_.traverse(visit, arg);
}

}  // namespace penstock::py
