#include "net/process.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <memory>

#include "net/testing.h"

namespace penstock {
namespace {

struct Parent final : ProcessWatch::Observer {
    void on_exited() noexcept override {
        ++exits;
        if (then != nullptr) then->reset();
    }
    int exits = 0;
    std::unique_ptr<ProcessWatch>* then = nullptr;
};

// A child that ends with the status 7 once its pipe is closed.
class Child {
public:
    Child() {
        std::array<int, 2> ends;
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        pid = ::fork();
        if (pid == 0) {
            ::close(ends[1]);
            char byte;
            [[maybe_unused]] ssize_t count = ::read(ends[0], &byte, 1);
            ::_exit(7);
        }
        ::close(ends[0]);
        alive_.reset(ends[1]);
    }
    ~Child() {
        alive_.reset();
        ::waitpid(pid, nullptr, 0);
    }
    void end() { alive_.reset(); }
    int reap() {
        int status = 0;
        return ::waitpid(pid, &status, WNOHANG) == pid ? status : -1;
    }
    pid_t pid;

private:
    UniqueFd alive_;
};

class ProcessWatchTest : public ::testing::Test {
protected:
    ProcessWatchTest() {
        Child child;
        UniqueFd probe(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0)));
        has_pidfds = probe.is_open();
    }
    void SetUp() override {
        if (!has_pidfds) GTEST_SKIP() << "no pidfds here";
    }
    Reactor reactor{testing::make_backend()};
    Backend& backend = reactor.backend();
    Parent parent;
    bool has_pidfds;
};

TEST_F(ProcessWatchTest, TellsOfTheEndOnceAndReapsNothing) {
    Child child;
    std::size_t before = backend.watched();
    ProcessWatch watch(reactor, parent);
    ASSERT_EQ(watch.start(child.pid), 0);
    EXPECT_EQ(backend.watched(), before + 1);
    testing::turn(backend);
    EXPECT_EQ(parent.exits, 0);
    child.end();
    testing::turn(backend, std::chrono::seconds(10));
    EXPECT_EQ(parent.exits, 1);
    EXPECT_EQ(backend.watched(), before);
    EXPECT_EQ(testing::turn(backend), 0);
    int status = child.reap();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
}

TEST_F(ProcessWatchTest, AChildThatHasEndedAlreadyIsFound) {
    Child child;
    child.end();
    siginfo_t info;
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT), 0);
    ProcessWatch watch(reactor, parent);
    ASSERT_EQ(watch.start(child.pid), 0);
    testing::turn(backend, std::chrono::seconds(10));
    EXPECT_EQ(parent.exits, 1);
}

TEST_F(ProcessWatchTest, TheObserverMayDestroyIt) {
    Child child;
    auto watch = std::make_unique<ProcessWatch>(reactor, parent);
    ASSERT_EQ(watch->start(child.pid), 0);
    parent.then = &watch;
    child.end();
    testing::turn(backend, std::chrono::seconds(10));
    EXPECT_EQ(parent.exits, 1);
    EXPECT_EQ(watch, nullptr);
}

TEST_F(ProcessWatchTest, DestroyedItIsSilent) {
    Child child;
    std::size_t before = backend.watched();
    {
        ProcessWatch watch(reactor, parent);
        ASSERT_EQ(watch.start(child.pid), 0);
    }
    EXPECT_EQ(backend.watched(), before);
    child.end();
    EXPECT_EQ(testing::turn(backend), 0);
    EXPECT_EQ(parent.exits, 0);
}

TEST_F(ProcessWatchTest, WhoIsGoneCannotBeWatched) {
    pid_t pid;
    {
        Child child;
        pid = child.pid;
    }
    ProcessWatch watch(reactor, parent);
    EXPECT_EQ(watch.start(pid), -ESRCH);
}

}  // namespace
}  // namespace penstock
