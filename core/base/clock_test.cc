#include "base/clock.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(Clock, CoarseTimeIsBehindButNotFar) {
    for (int i = 0; i < 1000; ++i) {
        TimePoint coarse = coarse_now();
        TimePoint exact = now();
        EXPECT_LE(coarse, exact);
    }
    TimePoint exact = now();
    EXPECT_LE(exact - coarse_now(), std::chrono::milliseconds(50));
}

TEST(Clock, NeverGoesBack) {
    TimePoint last = now();
    for (int i = 0; i < 1000; ++i) {
        TimePoint next = now();
        ASSERT_LE(last, next);
        last = next;
    }
}

}  // namespace
}  // namespace penstock
