#include "reactor/epoll/epoll_backend.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/testing/bench.h"

namespace penstock {
namespace {

struct Counting final : Watcher {
    void on_ready(Ready events) noexcept override { count += has(events, Ready::kRead); }
    int count = 0;
};

struct Pipe {
    Pipe() {
        int fds[2];
        if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return;
        reading.reset(fds[0]);
        writing.reset(fds[1]);
    }
    UniqueFd reading, writing;
};

BENCH("epoll: watch, change, forget") {
    EpollBackend backend;
    Pipe pipe;
    Counting watcher;
    bench.measure([&] {
        bench::keep(backend.watch(pipe.writing.get(), Ready::kRead, watcher));
        bench::keep(backend.watch(pipe.writing.get(), Ready::kWrite, watcher));
        backend.forget(pipe.writing.get());
    });
}

BENCH("epoll: wait and deliver") {
    EpollBackend backend;
    Pipe pipe;
    Counting watcher;
    if (::write(pipe.writing.get(), "x", 1) != 1) return;
    backend.watch(pipe.reading.get(), Ready::kRead, watcher);
    bench.measure([&] {
        int count = backend.wait(Duration::zero());
        for (int i = 0; i < count; ++i) backend.deliver(static_cast<std::size_t>(i));
    });
    bench::keep(watcher.count);
    backend.forget(pipe.reading.get());
}

}  // namespace
}  // namespace penstock
