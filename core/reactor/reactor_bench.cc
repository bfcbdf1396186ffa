#include "reactor/reactor.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "base/testing/bench.h"
#include "reactor/epoll/epoll_backend.h"

namespace penstock {
namespace {

// Its words are numbers: how many more are pushed, one by the other.
struct Countdown {
    Reactor& reactor;
    bool stops = false;

    void run(Word word) {
        if (word > 0)
            bench::keep(reactor.try_push(word - 1));
        else
            stops = true;
    }
    bool stopping() const { return stops; }
    bool interrupted() const { return false; }
    Duration clock_shift() const { return Duration::zero(); }
    bool failed() const { return false; }
    void wait_failed(int) { stops = true; }
    int wait(Backend& backend, Duration timeout) { return backend.wait(timeout); }
};

void turns(const bench::Case& bench, Reactor& reactor) {
    bench.measure([&] {
        Countdown host{reactor};
        bench::keep(reactor.try_push(100));
        reactor.run(host);
    });
}

struct Nobody final : Watcher {
    void on_ready(Ready) noexcept override {}
};

BENCH("reactor: 100 turns, nothing watched") {
    Reactor reactor(std::make_unique<EpollBackend>());
    turns(bench, reactor);
}

BENCH("reactor: 100 turns, a connection watched") {
    Reactor reactor(std::make_unique<EpollBackend>());
    int fds[2];
    if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return;
    UniqueFd reading(fds[0]), writing(fds[1]);
    Nobody nobody;
    reactor.backend().watch(reading.get(), Ready::kRead, nobody);
    turns(bench, reactor);
    reactor.backend().forget(reading.get());
}

BENCH("reactor: a timer of 100 that is due") {
    Reactor reactor(std::make_unique<EpollBackend>());
    for (Word word = 1; word < 100; ++word)
        reactor.timers().push(kNever - Duration(word), word * 8);
    bench.measure([&] {
        Countdown host{reactor};
        reactor.timers().push(TimePoint(), 0);
        reactor.run(host);
    });
}

}  // namespace
}  // namespace penstock
