#include "base/fork.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace penstock {
namespace {

// Forks; true if `check()` is true in the child.
template <class Check>
bool holds_in_child(Check check) {
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        ::_exit(check() ? 0 : 1);
    }
    int status = -1;
    return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(AtFork, TellsTheChildAndAsksTheParentBefore) {
    std::string story;
    AtFork first([&] { story += "child "; }, [&] { story += "before "; });
    EXPECT_TRUE(holds_in_child([&] { return story == "before child "; }));
    EXPECT_EQ(story, "before ");
}

TEST(AtFork, ForgetsWhoIsGone) {
    int calls = 0;
    AtFork first([&] { calls += 1; });
    {
        AtFork gone([&] { calls += 10; });
    }
    AtFork last([&] { calls += 100; });
    EXPECT_TRUE(holds_in_child([&] { return calls == 101; }));
    EXPECT_EQ(calls, 0);
}

TEST(AtFork, WorksInTheChildAndItsChildren) {
    AtFork first([] {});
    unsigned before = fork_count();
    EXPECT_TRUE(holds_in_child([&] {
        AtFork another([] {});
        return fork_count() == before + 1 &&
               holds_in_child([&] { return fork_count() == before + 2; });
    }));
    EXPECT_EQ(fork_count(), before);
}

TEST(ReplaceFile, LeavesTheNumberAsItIsWhereThereIsNoNewFile) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_FALSE(replace_file(ends[0], -1));
    EXPECT_GE(::fcntl(ends[0], F_GETFD), 0);
    int fresh = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXPECT_TRUE(replace_file(ends[0], fresh));
    EXPECT_EQ(::fcntl(fresh, F_GETFD), -1);
    char byte;
    EXPECT_EQ(::read(ends[0], &byte, 1), 0);
    EXPECT_EQ(::fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    ::close(ends[0]);
    ::close(ends[1]);
}

}  // namespace
}  // namespace penstock
