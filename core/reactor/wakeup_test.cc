#include "reactor/wakeup.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace penstock {
namespace {

bool is_readable(int fd, int timeout = 0) {
    pollfd poll{fd, POLLIN, 0};
    return ::poll(&poll, 1, timeout) == 1;
}

TEST(Wakeup, SaysNothingWhileNobodyWaits) {
    Wakeup wakeup;
    wakeup.signal();
    EXPECT_FALSE(is_readable(wakeup.fd()));
}

TEST(Wakeup, SpeaksOnceAWait) {
    Wakeup wakeup;
    wakeup.prepare();
    wakeup.signal();
    wakeup.signal();
    EXPECT_TRUE(is_readable(wakeup.fd()));
    wakeup.done();
    wakeup.on_ready(Ready::kRead);
    EXPECT_FALSE(is_readable(wakeup.fd()));
    wakeup.signal();
    EXPECT_FALSE(is_readable(wakeup.fd()));
}

TEST(Wakeup, EndsTheWaitOfAnotherThread) {
    Wakeup wakeup;
    for (int round = 0; round < 200; ++round) {
        wakeup.prepare();
        std::thread other([&] { wakeup.signal(); });
        ASSERT_TRUE(is_readable(wakeup.fd(), 10'000));
        wakeup.done();
        wakeup.on_ready(Ready::kRead);
        other.join();
    }
}

TEST(Wakeup, AChildWakesItselfAndNotItsParent) {
    Wakeup wakeup;
    wakeup.prepare();
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        wakeup.signal();
        ::_exit(is_readable(wakeup.fd()) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(is_readable(wakeup.fd()));
}

}  // namespace
}  // namespace penstock
