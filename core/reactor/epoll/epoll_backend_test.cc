#include "reactor/epoll/epoll_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "reactor/testing/script.h"

namespace penstock {
namespace {

using testing::CountingWatcher;

struct Pair {
    UniqueFd a, b;
    Pair() {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        a.reset(ends[0]);
        b.reset(ends[1]);
    }
    void feed() { EXPECT_EQ(::write(b.get(), "x", 1), 1); }
};

void deliver_all(EpollBackend& backend, int count) {
    for (int i = 0; i < count; ++i) backend.deliver(static_cast<std::size_t>(i));
}

int turn(EpollBackend& backend) {
    int count = backend.wait(Duration::zero());
    deliver_all(backend, count);
    return count;
}

TEST(EpollBackend, TellsReadFromWriteFromHangUp) {
    EpollBackend backend;
    Pair pair;
    CountingWatcher watcher;
    ASSERT_EQ(backend.watch(pair.a.get(), Ready::kRead, watcher), 0);
    EXPECT_EQ(turn(backend), 0);
    pair.feed();
    turn(backend);
    EXPECT_EQ(watcher.last, Ready::kRead);
    backend.watch(pair.a.get(), Ready::kRead | Ready::kWrite, watcher);
    turn(backend);
    EXPECT_EQ(watcher.last, Ready::kRead | Ready::kWrite);
    pair.b.reset();
    turn(backend);
    EXPECT_TRUE(has(watcher.last, Ready::kError));
    EXPECT_TRUE(has(watcher.last, Ready::kRead) && has(watcher.last, Ready::kWrite));
    EXPECT_EQ(backend.watched(), 1u);
    backend.forget(pair.a.get());
    EXPECT_EQ(backend.watched(), 0u);
}

TEST(EpollBackend, InterestOfNoneForgets) {
    EpollBackend backend;
    Pair pair;
    CountingWatcher watcher;
    backend.watch(pair.a.get(), Ready::kRead, watcher);
    EXPECT_EQ(backend.watch(pair.a.get(), Ready::kNone, watcher), 0);
    pair.feed();
    EXPECT_EQ(turn(backend), 0);
    EXPECT_EQ(backend.watched(), 0u);
    backend.forget(pair.a.get());
    backend.forget(123456);
    backend.forget(-1);
}

TEST(EpollBackend, AnEventThatIsStaleByItsTurnIsNotDelivered) {
    EpollBackend backend;
    Pair first, second;
    CountingWatcher of_first, of_second;
    backend.watch(first.a.get(), Ready::kRead, of_first);
    backend.watch(second.a.get(), Ready::kRead, of_second);
    first.feed();
    second.feed();
    of_first.then = [&](Ready) { backend.forget(second.a.get()); };
    of_second.then = [&](Ready) { backend.forget(first.a.get()); };
    EXPECT_EQ(turn(backend), 2);
    EXPECT_EQ(of_first.count + of_second.count, 1);
}

TEST(EpollBackend, AnEventIsNotDeliveredToTheNextFileOfItsNumber) {
    EpollBackend backend;
    Pair first, second;
    CountingWatcher old_owner, new_owner, trigger;
    int number = second.a.get();
    backend.watch(first.a.get(), Ready::kRead, trigger);
    backend.watch(number, Ready::kRead, old_owner);
    first.feed();
    second.feed();
    Pair third;
    auto reuse = [&](Ready) {
        if (new_owner.count + old_owner.count > 0) return;
        backend.forget(number);
        ASSERT_EQ(::dup3(third.a.get(), number, O_CLOEXEC), number);  // closes the old file
        ASSERT_EQ(backend.watch(number, Ready::kRead, new_owner), 0);
    };
    ASSERT_EQ(backend.wait(Duration::zero()), 2);
    reuse(Ready::kRead);  // both events are collected; now the number changes hands
    deliver_all(backend, 2);
    EXPECT_EQ(trigger.count, 1);
    EXPECT_EQ(old_owner.count, 0);
    EXPECT_EQ(new_owner.count, 0);
    third.feed();
    turn(backend);
    EXPECT_EQ(new_owner.count, 1);
}

TEST(EpollBackend, AFileThatWasClosedWithoutAWordIsNoObstacle) {
    EpollBackend backend;
    Pair first;
    CountingWatcher old_owner, new_owner;
    int number = first.a.get();
    backend.watch(number, Ready::kRead, old_owner);
    Pair second;
    ASSERT_EQ(::dup3(second.a.get(), number, O_CLOEXEC), number);
    // The kernel has dropped the registration: the MOD must become an ADD.
    ASSERT_EQ(backend.watch(number, Ready::kRead, new_owner), 0);
    EXPECT_EQ(backend.watched(), 1u);
    second.feed();
    turn(backend);
    EXPECT_EQ(new_owner.count, 1);
    EXPECT_EQ(old_owner.count, 0);
    ::close(first.a.release());
    backend.forget(number);  // of a file that is closed: no error
    EXPECT_EQ(backend.watched(), 0u);
}

TEST(EpollBackend, RefusesWhatTheKernelCannotWatch) {
    EpollBackend backend;
    CountingWatcher watcher;
    UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file.is_open());
    EXPECT_EQ(backend.watch(file.get(), Ready::kRead, watcher), -EPERM);
    EXPECT_EQ(backend.watch(-1, Ready::kRead, watcher), -EBADF);
    int closed = file.get();
    file.reset();
    EXPECT_EQ(backend.watch(closed, Ready::kRead, watcher), -EBADF);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST(EpollBackend, AnotherWatcherTakesOver) {
    EpollBackend backend;
    Pair pair;
    CountingWatcher first, second;
    backend.watch(pair.a.get(), Ready::kRead, first);
    pair.feed();
    ASSERT_EQ(backend.wait(Duration::zero()), 1);
    backend.watch(pair.a.get(), Ready::kRead, second);
    deliver_all(backend, 1);
    EXPECT_EQ(first.count + second.count, 0);  // collected for the first, who is gone
    turn(backend);
    EXPECT_EQ(second.count, 1);
}

TEST(EpollBackend, ALateWatcherDoesNotTakeTheNextOnesFileAway) {
    EpollBackend backend;
    Pair first, second;
    CountingWatcher late, owner;
    int number = first.a.get();
    backend.watch(number, Ready::kRead, late);
    ASSERT_EQ(::dup3(second.a.get(), number, O_CLOEXEC), number);  // closed behind its back
    backend.watch(number, Ready::kRead, owner);
    EXPECT_EQ(backend.watch(number, Ready::kNone, late), 0);
    EXPECT_EQ(backend.watched(), 1u);
    second.feed();
    turn(backend);
    EXPECT_EQ(owner.count, 1);
}

TEST(EpollBackend, WaitsShorterThanAMillisecondAndNotForTooShort) {
    EpollBackend backend;
    for (auto timeout : {std::chrono::microseconds(300), std::chrono::microseconds(2500)}) {
        TimePoint before = now();
        EXPECT_EQ(backend.wait(timeout), 0);
        EXPECT_GE(now() - before, timeout);
    }
}

TEST(EpollBackend, CarriesManyDescriptors) {
    rlimit limit;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4200);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    EpollBackend backend;
    std::vector<Pair> pairs((limit.rlim_cur - 100) / 2);
    std::vector<CountingWatcher> watchers(pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i)
        ASSERT_EQ(backend.watch(pairs[i].a.get(), Ready::kRead, watchers[i]), 0);
    EXPECT_EQ(backend.watched(), pairs.size());
    for (Pair& pair : pairs) pair.feed();
    // A wait brings only so many at once; the kernel takes turns among the ready ones.
    for (std::size_t turns = 0; turns < pairs.size() / 100 + 1; ++turns) turn(backend);
    for (const CountingWatcher& watcher : watchers) EXPECT_GE(watcher.count, 1);
    for (Pair& pair : pairs) backend.forget(pair.a.get());
    EXPECT_EQ(backend.watched(), 0u);
}

}  // namespace
}  // namespace penstock
