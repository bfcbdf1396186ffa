#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "reactor/testing/no_room.h"

namespace {

thread_local int error_now = 0;
thread_local int refused_now = 0;

}  // namespace

// In front of libc's, for all of this program.
extern "C" int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    if (error_now != 0) {
        ++refused_now;
        errno = error_now;
        return -1;
    }
    static const auto in_libc =
        reinterpret_cast<decltype(&::epoll_ctl)>(::dlsym(RTLD_NEXT, "epoll_ctl"));
    return in_libc(epoll, operation, fd, event);
}

namespace penstock::testing {

NoRoom::NoRoom(int error) noexcept {
    error_now = error;
    refused_now = 0;
}
NoRoom::~NoRoom() { error_now = 0; }
int NoRoom::refused() const noexcept { return refused_now; }

namespace {

TEST(NoRoom, RefusesForAsLongAsItLives) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC)), other(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    {
        NoRoom no_room(ENOSPC);
        EXPECT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, other.get(), &event), -1);
        EXPECT_EQ(errno, ENOSPC);
        EXPECT_EQ(no_room.refused(), 1);
    }
    EXPECT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, other.get(), &event), 0);
}

}  // namespace
}  // namespace penstock::testing
