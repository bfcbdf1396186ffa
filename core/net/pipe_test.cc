#include "net/pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <vector>

#include "net/socket.h"
#include "net/testing.h"

namespace penstock {
namespace {

using namespace testing;

TEST(Pipe, ReadsWhatIsWritten) {
    Pipe ends;
    EXPECT_EQ(pipe::write(ends.writing.get(), bytes_of("ping")), 4);
    std::array<std::byte, 16> buffer;
    EXPECT_EQ(pipe::read(ends.reading.get(), buffer), 4);
    EXPECT_TRUE(socket::would_block(pipe::read(ends.reading.get(), buffer)));
    ends.writing.reset();
    EXPECT_EQ(pipe::read(ends.reading.get(), buffer), 0);
}

TEST(Pipe, WritesNoMorePiecesThanTheKernelTakes) {
    Pipe ends;
    std::string one = "x";
    std::vector<iovec> pieces(IOV_MAX + 10, iovec{one.data(), 1});
    EXPECT_EQ(pipe::write(ends.writing.get(), std::span<const iovec>(pieces)), IOV_MAX);
}

TEST(Pipe, AFullPipeWouldBlock) {
    Pipe ends;
    std::string block(1 << 20, 'b');
    EXPECT_GT(pipe::write(ends.writing.get(), bytes_of(block)), 0);
    EXPECT_TRUE(socket::would_block(pipe::write(ends.writing.get(), bytes_of(block))));
}

TEST(Pipe, APipeWithoutAReaderIsAnErrorWhereTheSignalIsIgnored) {
    Pipe ends;
    auto before = std::signal(SIGPIPE, SIG_IGN);
    ends.reading.reset();
    EXPECT_EQ(pipe::write(ends.writing.get(), bytes_of("x")), -EPIPE);
    std::signal(SIGPIPE, before);
}

TEST(Pipe, ADuplicateIsTheSameFileAndNotInherited) {
    Pipe ends;
    UniqueFd copy;
    ASSERT_EQ(pipe::duplicate(ends.writing.get(), copy), 0);
    EXPECT_TRUE(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC);
    ends.writing.reset();
    EXPECT_EQ(pipe::write(copy.get(), bytes_of("x")), 1);
    EXPECT_EQ(pipe::duplicate(ends.writing.get(), copy), -EBADF);
    EXPECT_TRUE(is_open(copy.get()));
}

}  // namespace
}  // namespace penstock
