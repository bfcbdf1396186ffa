#include "net/listener.h"

#include <utility>

#include "net/socket.h"

namespace penstock {
namespace {

bool is_exhaustion(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Linux hands errors that the new connection has met already to accept(2) (see its manual page):
// they say nothing about the listening socket.
bool is_of_the_connection(int error) noexcept {
    switch (error) {
        case ECONNABORTED:
        case ENETDOWN:
        case EPROTO:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case ENETUNREACH: return true;
        default: return false;
    }
}

}  // namespace

Listener::~Listener() {
    if (is_gone_ != nullptr) *is_gone_ = true;
    stop();
}

int Listener::start() noexcept {
    int error = backend_.watch(fd_, Ready::kRead, *this);
    if (error == 0) is_listening_ = true;
    return error;
}

void Listener::stop() noexcept {
    if (std::exchange(is_listening_, false)) backend_.watch(fd_, Ready::kNone, *this);
}

void Listener::on_ready(Ready) noexcept {
    bool is_gone = false;
    bool* outer = std::exchange(is_gone_, &is_gone);
    for (std::size_t left = accepts_a_turn_; left > 0 && !is_gone && is_listening_; --left) {
        UniqueFd accepted;
        Address peer;
        int error = -socket::accept(fd_, accepted, peer);
        if (error == EAGAIN) break;
        if (error == 0) {
            observer_.on_accepted(std::move(accepted), peer);
        } else if (is_exhaustion(error)) {
            stop();
            observer_.on_exhausted(error);
            break;
        } else if (!is_of_the_connection(error)) {
            observer_.on_error(error);
            break;
        }
    }
    if (!is_gone)
        is_gone_ = outer;
    else if (outer != nullptr)
        *outer = true;
}

}  // namespace penstock
