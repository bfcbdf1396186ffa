// What every backend has to do, with real files: each test runs on all that this system has.
#include "reactor/backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "reactor/selection.h"
#include "reactor/testing/no_room.h"
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

void deliver_all(Backend& backend, int count) {
    for (int i = 0; i < count; ++i) backend.deliver(static_cast<std::size_t>(i));
}

int turn(Backend& backend) {
    int count = backend.wait(Duration::zero());
    deliver_all(backend, count);
    return count;
}

class BackendTest : public ::testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        if (backend.name() != GetParam()) GTEST_SKIP() << selection_.reason;
    }

private:
    Selection selection_ = select_backend(GetParam());

protected:
    Backend& backend = *selection_.backend;
};

INSTANTIATE_TEST_SUITE_P(, BackendTest, ::testing::Values("epoll", "uring"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(BackendTest, TellsReadFromWriteFromHangUp) {
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

TEST_P(BackendTest, InterestOfNoneForgets) {
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

TEST_P(BackendTest, AnEventThatIsStaleByItsTurnIsNotDelivered) {
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

TEST_P(BackendTest, AnEventIsNotDeliveredToTheNextFileOfItsNumber) {
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

TEST_P(BackendTest, AFileThatWasClosedWithoutAWordIsNoObstacle) {
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

TEST_P(BackendTest, RefusesWhatTheKernelCannotWatch) {
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

TEST_P(BackendTest, AnotherWatcherTakesOver) {
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

TEST_P(BackendTest, ALateWatcherDoesNotTakeTheNextOnesFileAway) {
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

// What the peer hears: "" at the end, "-" as long as there is none.
std::string heard(const UniqueFd& peer) {
    char byte;
    ssize_t count = ::recv(peer.get(), &byte, 1, MSG_DONTWAIT);
    return count == 0 ? "" : count < 0 ? "-" : std::string(1, byte);
}

TEST_P(BackendTest, ForgettingLetsTheFileGo) {
    std::vector<Pair> pairs(100);
    std::vector<CountingWatcher> watchers(pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i)
        backend.watch(pairs[i].a.get(), Ready::kRead, watchers[i]);
    turn(backend);
    for (std::size_t i = 1; i < pairs.size(); ++i) pairs[i].feed();
    for (std::size_t i : {std::size_t{0}, pairs.size() - 1}) {
        backend.forget(pairs[i].a.get());
        char byte;
        if (i != 0) {
            ASSERT_EQ(::read(pairs[i].a.get(), &byte, 1), 1);
        }
        pairs[i].a.reset();
        EXPECT_EQ(heard(pairs[i].b), "");
    }
    EXPECT_EQ(turn(backend), 98);
}

TEST_P(BackendTest, WhatIsBorrowedMayBeClosedWithoutAWord) {
    Pair pair, other;
    CountingWatcher watcher, owner, next;
    int number = pair.a.get();
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kRead, watcher), 0);
    ASSERT_EQ(backend.watch(other.a.get(), Ready::kRead, owner), 0);
    EXPECT_EQ(backend.watched(), 2u);
    pair.feed();
    other.feed();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(turn(backend), 2);
    EXPECT_EQ(watcher.count, 3);
    EXPECT_EQ(owner.count, 3);
    char byte;
    ASSERT_EQ(::read(number, &byte, 1), 1);
    pair.a.reset();
    EXPECT_EQ(heard(pair.b), "");
    EXPECT_EQ(turn(backend), 1);
    // Its number is a transport's by now.
    Pair third;
    UniqueFd reused;
    if (third.a.get() != number) {
        reused.reset(::dup3(third.a.get(), number, O_CLOEXEC));
        ASSERT_EQ(reused.get(), number);
    }
    ASSERT_EQ(backend.watch(number, Ready::kRead, next), 0);
    EXPECT_EQ(backend.watch_borrowed(number, Ready::kNone, watcher), 0);
    EXPECT_EQ(backend.watched(), 2u);
    third.feed();
    EXPECT_EQ(turn(backend), 2);
    EXPECT_EQ(next.count, 1);
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kWrite, watcher), 0);
    EXPECT_EQ(backend.watched(), 2u);
    turn(backend);
    EXPECT_EQ(watcher.last, Ready::kWrite);
    EXPECT_EQ(next.count, 1);
    backend.forget(number);
    EXPECT_EQ(backend.watched(), 1u);
    EXPECT_EQ(turn(backend), 1);
}

TEST_P(BackendTest, AnEventOfAFileThatWasReplacedIsNotTheNextOnes) {
    Pair old, next;
    CountingWatcher watcher;
    int number = old.a.get();
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kRead, watcher), 0);
    old.feed();
    int count = backend.wait(Duration::zero());
    ASSERT_EQ(count, 1);
    ASSERT_EQ(::dup3(next.a.get(), number, O_CLOEXEC), number);
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kRead, watcher), 0);
    deliver_all(backend, count);
    EXPECT_EQ(watcher.count, 0);
    next.feed();
    EXPECT_EQ(turn(backend), 1);
    EXPECT_EQ(watcher.count, 1);
}

TEST_P(BackendTest, AWatchThatGoesOnMayBringAnEventAtOnce) {
    Pair pair;
    CountingWatcher watcher;
    ASSERT_EQ(backend.watch_borrowed(pair.a.get(), Ready::kRead, watcher), 0);
    backend.take_expectation();
    ASSERT_TRUE(backend.keep_watching(pair.a.get(), Ready::kRead, watcher));
    EXPECT_TRUE(backend.take_expectation());
}

// A watch that goes on, of a number that means another file by then.
struct Replaced {
    Pair old, next;
    CountingWatcher watcher;
    explicit Replaced(Backend& backend) {
        EXPECT_EQ(backend.watch_borrowed(number(), Ready::kRead, watcher), 0);
        EXPECT_EQ(backend.wait(Duration::zero()), 0);
        EXPECT_EQ(::dup3(next.a.get(), number(), O_CLOEXEC), number());
    }
    int number() const { return old.a.get(); }
    bool keep(Backend& backend) { return backend.keep_watching(number(), Ready::kRead, watcher); }
};

TEST_P(BackendTest, OnlyWhatIsWatchedCanGoOn) {
    Pair pair;
    CountingWatcher watcher, other;
    int fd = pair.a.get();
    EXPECT_FALSE(backend.keep_watching(-1, Ready::kRead, watcher));
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kRead, watcher));
    backend.watch_borrowed(fd, Ready::kRead, watcher);
    EXPECT_TRUE(backend.keep_watching(fd, Ready::kRead, watcher));
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kWrite, watcher));
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kRead | Ready::kWrite, watcher));
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kRead, other));
    pair.feed();
    EXPECT_EQ(turn(backend), 1);
    backend.watch(fd, Ready::kRead, other);
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kRead, watcher));
    backend.forget(fd);
    EXPECT_FALSE(backend.keep_watching(fd, Ready::kRead, other));
    EXPECT_EQ(turn(backend), 0);
}

TEST_P(BackendTest, AReplacedFileIsNoticedBeforeAWaitSleeps) {
    for (int files : {1, 3}) {
        std::vector<std::unique_ptr<Replaced>> replaced;
        for (int i = 0; i < files; ++i) {
            replaced.push_back(std::make_unique<Replaced>(backend));
            ASSERT_TRUE(replaced.back()->keep(backend));
        }
        for (auto& each : replaced) each->next.feed();
        int events = 0;
        while (events < files) {
            int count = backend.wait(Duration::max());
            ASSERT_GE(count, 0);
            deliver_all(backend, count);
            events += count;
        }
        for (auto& each : replaced) {
            EXPECT_EQ(each->watcher.count, 1);
            backend.forget(each->number());
        }
    }
}

TEST_P(BackendTest, AReplacedFileIsNoticedByALoopThatNeverSleeps) {
    for (Duration timeout : {Duration::zero(), Duration::max()}) {
        Replaced replaced(backend);
        Pair busy;
        CountingWatcher watcher;
        busy.feed();
        ASSERT_EQ(backend.watch_borrowed(busy.a.get(), Ready::kRead, watcher), 0);
        replaced.next.feed();
        ASSERT_TRUE(replaced.keep(backend));
        for (int waits = 0; waits < 200 && replaced.watcher.count == 0; ++waits) {
            backend.keep_watching(busy.a.get(), Ready::kRead, watcher);
            deliver_all(backend, backend.wait(timeout));
        }
        EXPECT_EQ(replaced.watcher.count, 1);
        EXPECT_GE(watcher.count, 1);
        backend.forget(replaced.number());
        backend.forget(busy.a.get());
    }
}

TEST_P(BackendTest, ACheckForWhichTheKernelHasNoRoomIsMadeAgain) {
    for (int error : {ENOMEM, ENOSPC}) {
        Replaced replaced(backend);
        ASSERT_TRUE(replaced.keep(backend));
        replaced.next.feed();
        {
            testing::NoRoom no_room(error);
            // A wait for ever, of which each would sleep through the event; it asks again soon.
            for (int refusals = 1; refusals <= 3; ++refusals) {
                int count;
                do {
                    count = backend.wait(Duration::max());
                } while (count == -EINTR);
                EXPECT_EQ(count, 0);
                EXPECT_GE(no_room.refused(), refusals);
            }
            // Who asks for the file itself is told.
            EXPECT_EQ(backend.watch_borrowed(replaced.number(), Ready::kWrite, replaced.watcher),
                      -error);
            EXPECT_TRUE(replaced.keep(backend));
        }
        EXPECT_EQ(backend.watched(), 1u);
        EXPECT_EQ(replaced.watcher.count, 0);
        deliver_all(backend, backend.wait(Duration::max()));
        EXPECT_EQ(replaced.watcher.count, 1);
        backend.forget(replaced.number());
    }
}

TEST_P(BackendTest, ACheckForWhichThereIsNoRoomIsMadeAgainByALoopThatNeverSleeps) {
    Replaced replaced(backend);
    replaced.next.feed();
    ASSERT_TRUE(replaced.keep(backend));
    {
        testing::NoRoom no_room(ENOMEM);
        for (int waits = 0; waits < 1000 && no_room.refused() < 2; ++waits) turn(backend);
        EXPECT_GE(no_room.refused(), 2);
    }
    EXPECT_EQ(replaced.watcher.count, 0);
    for (int waits = 0; waits < 200 && replaced.watcher.count == 0; ++waits) turn(backend);
    EXPECT_EQ(replaced.watcher.count, 1);
    backend.forget(replaced.number());
}

TEST_P(BackendTest, AnEventSparesTheCheck) {
    Pair pair, next;
    CountingWatcher watcher;
    int number = pair.a.get();
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kRead, watcher), 0);
    ASSERT_TRUE(backend.keep_watching(number, Ready::kRead, watcher));
    pair.feed();
    EXPECT_EQ(turn(backend), 1);
    ASSERT_EQ(::dup3(next.a.get(), number, O_CLOEXEC), number);
    next.feed();
    EXPECT_EQ(backend.wait(std::chrono::microseconds(1)), 0);  // nobody waits for this file
    ASSERT_TRUE(backend.keep_watching(number, Ready::kRead, watcher));
    EXPECT_EQ(backend.wait(std::chrono::hours(1)), 1);
    backend.forget(number);
}

TEST_P(BackendTest, ANumberThatIsClosedByTheTimeOfTheCheck) {
    Pair pair;
    CountingWatcher watcher;
    int number = pair.a.get();
    ASSERT_EQ(backend.watch_borrowed(number, Ready::kRead, watcher), 0);
    ASSERT_TRUE(backend.keep_watching(number, Ready::kRead, watcher));
    pair.a.reset();
    EXPECT_EQ(heard(pair.b), "");
    EXPECT_EQ(backend.wait(std::chrono::microseconds(1)), 0);
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_FALSE(backend.keep_watching(number, Ready::kRead, watcher));
    // Forgotten and closed before.
    Pair other;
    ASSERT_EQ(backend.watch_borrowed(other.a.get(), Ready::kRead, watcher), 0);
    ASSERT_TRUE(backend.keep_watching(other.a.get(), Ready::kRead, watcher));
    backend.forget(other.a.get());
    other.feed();
    EXPECT_EQ(backend.wait(std::chrono::microseconds(1)), 0);
    EXPECT_EQ(watcher.count, 0);
}

TEST_P(BackendTest, AChildsWatchGoesOnToo) {
    Pair pair;
    CountingWatcher watcher;
    backend.watch_borrowed(pair.a.get(), Ready::kRead, watcher);
    EXPECT_EQ(turn(backend), 0);
    ASSERT_TRUE(backend.keep_watching(pair.a.get(), Ready::kRead, watcher));
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        pair.feed();
        bool goes_on = backend.keep_watching(pair.a.get(), Ready::kRead, watcher);
        int count = backend.wait(Duration::max());
        backend.forget(pair.a.get());
        ::_exit(goes_on ? count * 10 + turn(backend) : 0);
    }
    int status;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 10);
    EXPECT_EQ(backend.wait(Duration::max()), 1);
}

TEST_P(BackendTest, AnInterestThatChangesBetweenWaits) {
    Pair pair;
    CountingWatcher watcher;
    int fd = pair.a.get();
    backend.watch(fd, Ready::kRead, watcher);
    EXPECT_EQ(turn(backend), 0);
    backend.watch(fd, Ready::kWrite, watcher);
    turn(backend);
    EXPECT_EQ(watcher.last, Ready::kWrite);
    backend.watch(fd, Ready::kRead, watcher);
    EXPECT_EQ(turn(backend), 0);
    backend.watch(fd, Ready::kRead | Ready::kWrite, watcher);
    backend.watch(fd, Ready::kRead, watcher);
    EXPECT_EQ(turn(backend), 0);
    // It has come already when the interest changes.
    pair.feed();
    backend.watch(fd, Ready::kRead | Ready::kWrite, watcher);
    for (int turns = 0; turns < 2; ++turns) turn(backend);
    EXPECT_EQ(watcher.last, Ready::kRead | Ready::kWrite);
}

TEST_P(BackendTest, OneThreadAfterTheOther) {
    Pair pair;
    CountingWatcher watcher;
    backend.watch(pair.a.get(), Ready::kRead, watcher);
    std::binary_semaphore has_run{0}, may_end{0};
    std::thread living([&] {
        turn(backend);
        has_run.release();
        may_end.acquire();
    });
    has_run.acquire();
    pair.feed();
    turn(backend);
    EXPECT_EQ(watcher.count, 1);
    std::thread([&] { turn(backend); }).join();
    EXPECT_EQ(watcher.count, 2);
    // Of a thread that has ended.
    turn(backend);
    EXPECT_EQ(watcher.count, 3);
    may_end.release();
    living.join();
    std::thread([&] { backend.forget(pair.a.get()); }).join();
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_EQ(turn(backend), 0);
}

TEST_P(BackendTest, AChildsIsNotItsParents) {
    Pair pair, lent;
    CountingWatcher watcher;
    backend.watch(pair.a.get(), Ready::kRead, watcher);
    backend.watch_borrowed(lent.a.get(), Ready::kRead, watcher);
    EXPECT_EQ(turn(backend), 0);
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        pair.feed();
        lent.feed();
        int count = turn(backend);
        backend.forget(pair.a.get());
        count += turn(backend);
        backend.forget(lent.a.get());
        ::_exit(count * 10 + turn(backend));
    }
    int status;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 30);
    EXPECT_EQ(turn(backend), 2);
}

TEST_P(BackendTest, AChildThatHasClosedAllItInherited) {
    Pair pair;
    CountingWatcher watcher;
    backend.watch(pair.a.get(), Ready::kRead, watcher);
    turn(backend);
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        for (int fd = 3; fd < 1000; ++fd) ::close(fd);
        Pair own;
        backend.watch(own.a.get(), Ready::kRead, watcher);
        own.feed();
        ::_exit(turn(backend) + turn(backend));
    }
    int status;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 2);
}

TEST_P(BackendTest, ASignalEndsTheWait) {
    Pair pair;
    CountingWatcher watcher;
    struct sigaction action {
    }, before;
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before);
    itimerval soon{{0, 1000}, {0, 1000}};  // again and again: one may come before the wait
    ::setitimer(ITIMER_REAL, &soon, nullptr);
    for (Duration timeout : {Duration::max(), Duration(std::chrono::hours(1))}) {
        backend.watch(pair.a.get(), Ready::kRead, watcher);
        int count = backend.wait(timeout);
        EXPECT_TRUE(count == -EINTR || count == 0);
        backend.forget(pair.a.get());
    }
    soon = {};
    ::setitimer(ITIMER_REAL, &soon, nullptr);
    ::sigaction(SIGALRM, &before, nullptr);
}

TEST_P(BackendTest, WaitsShorterThanAMillisecondAndNotForTooShort) {
    for (auto timeout : {std::chrono::microseconds(300), std::chrono::microseconds(2500)}) {
        TimePoint before = now();
        int count;
        do {
            count = backend.wait(timeout);  // the kernel may interrupt it as it ends another ring
        } while (count == -EINTR);
        EXPECT_EQ(count, 0);
        EXPECT_GE(now() - before, timeout);
    }
}

TEST_P(BackendTest, CarriesManyDescriptors) {
    rlimit limit;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 9000);  // more than a ring has places
    ::setrlimit(RLIMIT_NOFILE, &limit);
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
