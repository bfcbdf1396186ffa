// What only this backend has to do; the rest is in backend_test.cc.
#include "reactor/uring/uring_backend.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <thread>

#include "base/unique_fd.h"
#include "reactor/selection.h"

namespace penstock {

class UringBackendTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (selection_.backend->name() != "uring") GTEST_SKIP() << selection_.reason;
    }

private:
    Selection selection_ = select_backend("uring");

protected:
    // Says that there is work.
    void raise_flag() noexcept {
        unsigned* flags = static_cast<UringBackend&>(backend).ring_.sq.kflags;
        std::atomic_ref<unsigned>(*flags).fetch_or(IORING_SQ_TASKRUN);
    }

    Backend& backend = *selection_.backend;
};

namespace {

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

// A core that brings work raises the flag behind it, when the work may have been done already.
TEST_F(UringBackendTest, AFlagWithNothingBehindItKeepsNobody) {
    struct Nobody final : Watcher {
        void on_ready(Ready) noexcept override {}
    } watcher;
    std::array<int, 2> ends;
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    UniqueFd near(ends[0]), far(ends[1]);
    ASSERT_EQ(backend.watch(near.get(), Ready::kRead, watcher), 0);
    ASSERT_EQ(backend.wait(Duration::zero()), 0);
    std::atomic<bool> has_begun = false, is_over = false;
    std::thread other([&] {
        for (; !is_over; has_begun = true) raise_flag();
    });
    while (!has_begun) std::this_thread::yield();
    backend.forget(near.get());
    is_over = true;
    other.join();
    EXPECT_EQ(backend.watched(), 0u);
}

}  // namespace
}  // namespace penstock
