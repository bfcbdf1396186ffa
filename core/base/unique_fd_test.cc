#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
int some_fd() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST(UniqueFd, ClosesOnceAtTheEndOfItsScope) {
    int fd = some_fd();
    {
        UniqueFd owner(fd);
        EXPECT_TRUE(is_open(fd));
    }
    EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, MovingHandsTheDescriptorOver) {
    UniqueFd first(some_fd());
    int fd = first.get();
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.is_open());  // NOLINT: what is left behind is empty, by contract
    EXPECT_EQ(second.get(), fd);
    UniqueFd third(some_fd());
    int old = third.get();
    third = std::move(second);
    EXPECT_FALSE(is_open(old));
    EXPECT_EQ(third.get(), fd);
}

TEST(UniqueFd, ReleasedIsNotClosed) {
    int fd = -1;
    {
        UniqueFd owner(some_fd());
        fd = owner.release();
        EXPECT_FALSE(owner.is_open());
    }
    EXPECT_TRUE(is_open(fd));
    ::close(fd);
}

}  // namespace
}  // namespace penstock
