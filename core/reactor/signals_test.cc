#include "reactor/signals.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <vector>

#include "reactor/testing/backend.h"

namespace penstock {
namespace {

int signal_pipe = -1;

void write_number(int number) {
    auto byte = static_cast<unsigned char>(number);
    [[maybe_unused]] ssize_t written = ::write(signal_pipe, &byte, 1);
}

TEST(Signals, ReportsEachNumberInATurnOfTheLoop) {
    std::vector<int> seen;
    Signals signals([&](int number) { seen.push_back(number); });
    std::unique_ptr<Backend> selected_backend = testing::make_backend();
    Backend& backend = *selected_backend;
    ASSERT_EQ(backend.watch(signals.read_fd(), Ready::kRead, signals), 0);
    signal_pipe = signals.write_fd();
    auto before = std::signal(SIGUSR1, write_number);
    std::raise(SIGUSR1);
    std::raise(SIGUSR1);
    EXPECT_TRUE(seen.empty());
    ASSERT_EQ(backend.wait(Duration::zero()), 1);
    backend.deliver(0);
    EXPECT_EQ(seen, (std::vector<int>{SIGUSR1, SIGUSR1}));
    EXPECT_EQ(backend.wait(Duration::zero()), 0);
    std::signal(SIGUSR1, before);
    backend.forget(signals.read_fd());
}

TEST(Signals, IgnoresZeroBytesAndSurvivesAFullPipe) {
    int seen = 0;
    Signals signals([&](int) { ++seen; });
    unsigned char zero = 0, number = SIGTERM;
    ASSERT_EQ(::write(signals.write_fd(), &zero, 1), 1);
    int written = 0;
    while (::write(signals.write_fd(), &number, 1) == 1) ++written;  // until it would block
    signals.on_ready(Ready::kRead);
    EXPECT_EQ(seen, written);
}

TEST(Signals, AChildsAreNotItsParents) {
    Signals signals([](int) {});
    signal_pipe = signals.write_fd();
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        write_number(SIGUSR1);
        pollfd own{signals.read_fd(), POLLIN, 0};
        ::_exit(::poll(&own, 1, 0) == 1 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    pollfd parents{signals.read_fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&parents, 1, 0), 0);
}

}  // namespace
}  // namespace penstock
