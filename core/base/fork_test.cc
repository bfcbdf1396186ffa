#include "base/fork.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

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

class ReplaceFileTest : public ::testing::Test {
protected:
    ReplaceFileTest() {
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        file.reset(ends[0]);
        writing.reset(ends[1]);
        id = FileId::of(file.get());
    }
    static UniqueFd null() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

    UniqueFd file, writing;
    FileId id;
};

TEST_F(ReplaceFileTest, KeepsTheNumber) {
    int number = file.get();
    FileId before = id;
    UniqueFd fresh = null();
    int spare = fresh.get();
    replace_file(file, id, std::move(fresh));
    EXPECT_EQ(file.get(), number);
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(spare, F_GETFD), -1);
    EXPECT_NE(id, before);
    EXPECT_EQ(id, FileId::of(number));
    char byte;
    EXPECT_EQ(::read(number, &byte, 1), 0);
}

TEST_F(ReplaceFileTest, ClosesTheFileWhereThereIsNoNewOne) {
    int number = file.get();
    replace_file(file, id, UniqueFd());
    EXPECT_FALSE(file.is_open());
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST_F(ReplaceFileTest, LeavesANumberAloneThatMeansAnotherFile) {
    UniqueFd another = null();
    ASSERT_EQ(::dup2(another.get(), file.get()), file.get());
    int number = file.get();
    replace_file(file, id, null());
    EXPECT_FALSE(file.is_open());
    EXPECT_EQ(FileId::of(number), FileId::of(another.get()));
    ::close(number);
}

TEST_F(ReplaceFileTest, LeavesAClosedNumberAlone) {
    int number = file.get();
    ::close(number);
    replace_file(file, id, UniqueFd());
    EXPECT_FALSE(file.is_open());
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace penstock
