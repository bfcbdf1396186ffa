#include "reactor/signals.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace penstock {

namespace {

// False, with nothing changed, where there is none to be had.
bool make_pair(int (&ends)[2]) noexcept {
    return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0;
}

}  // namespace

Signals::Signals(Sink sink) : sink_(std::move(sink)) {
    int ends[2];
    if (!make_pair(ends)) throw std::system_error(errno, std::generic_category(), "socketpair");
    read_end_.reset(ends[0]);
    write_end_.reset(ends[1]);
    read_file_ = FileId::of(ends[0]);
    write_file_ = FileId::of(ends[1]);
}

void Signals::leave_parent_behind() noexcept {
    int ends[2] = {-1, -1};
    make_pair(ends);
    replace_file(read_end_, read_file_, UniqueFd(ends[0]));
    replace_file(write_end_, write_file_, UniqueFd(ends[1]));
}

void Signals::on_ready(Ready) noexcept {
    std::array<unsigned char, 4096> numbers;
    for (;;) {
        ssize_t count = ::recv(read_end_.get(), numbers.data(), numbers.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;
        for (ssize_t i = 0; i < count; ++i)
            if (numbers[i] != 0) sink_(numbers[i]);
    }
}

}  // namespace penstock
