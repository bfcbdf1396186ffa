#include "net/stream.h"

#include <sys/socket.h>

#include <array>

#include "base/testing/bench.h"
#include "reactor/epoll/epoll_backend.h"

namespace penstock {
namespace {

struct Reading final : Channel::Observer {
    void on_readable() noexcept override { bench::keep(stream->receive(buffer)); }
    void on_written() noexcept override {}
    void on_write_error(int) noexcept override {}
    Stream* stream = nullptr;
    std::array<std::byte, 1024> buffer;
};

// A message there and back: what the loop does for it between the protocol and the kernel.
BENCH("stream: a message of 1 KiB is sent, waited for and received") {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return;
    EpollBackend backend;
    Reading near, far;
    Stream sender(backend, UniqueFd(fds[0]), near), receiver(backend, UniqueFd(fds[1]), far);
    near.stream = &sender;
    far.stream = &receiver;
    std::array<std::byte, 1024> message{};
    receiver.start_reading();
    bench.measure([&] {
        bench::keep(sender.send(message));
        int count = backend.wait(Duration::zero());
        for (int i = 0; i < count; ++i) backend.deliver(static_cast<std::size_t>(i));
    });
}

}  // namespace
}  // namespace penstock
