// What only this backend has to do; the rest is in backend_test.cc.
#include "reactor/uring/uring_backend.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <thread>

#include "reactor/selection.h"

namespace penstock {
namespace {

class UringBackendTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (selection_.backend->name() != "uring") GTEST_SKIP() << selection_.reason;
    }

private:
    Selection selection_ = select_backend("uring");

protected:
    Backend& backend = *selection_.backend;
};

TEST_F(UringBackendTest, AWaitTakesTheTimersOfTheThreadsSlackTogether) {
    constexpr Duration kSlack = std::chrono::milliseconds(20);
    std::thread([&] {
        ::prctl(PR_SET_TIMERSLACK, std::chrono::nanoseconds(kSlack).count());
        TimePoint before = now();
        int count;
        do {
            count = backend.wait(std::chrono::microseconds(10));
        } while (count == -EINTR);
        EXPECT_EQ(count, 0);
        EXPECT_GE(now() - before, kSlack);
        before = now();
        EXPECT_EQ(backend.wait(Duration::zero()), 0);
        EXPECT_LT(now() - before, kSlack);
    }).join();
}

}  // namespace
}  // namespace penstock
