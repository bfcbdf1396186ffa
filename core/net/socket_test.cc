#include "net/socket.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <array>
#include <climits>
#include <csignal>
#include <thread>
#include <vector>

#include "net/testing.h"

namespace penstock {
namespace {

using namespace testing;

TEST(Socket, SendsAndReceives) {
    Connection connection;
    EXPECT_EQ(socket::send(connection.near.get(), bytes_of("ping")), 4);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    std::array<std::byte, 16> buffer;
    EXPECT_EQ(socket::recv(connection.far.get(), buffer), 4);
    EXPECT_TRUE(socket::would_block(socket::recv(connection.far.get(), buffer)));
    EXPECT_EQ(socket::shutdown_write(connection.near.get()), 0);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    EXPECT_EQ(socket::recv(connection.far.get(), buffer), 0);
}

TEST(Socket, ReceivesInPiecesWithoutWaiting) {
    Connection connection;
    std::array<std::byte, 3> first{}, second{};
    iovec pieces[] = {{first.data(), first.size()}, {second.data(), second.size()}};
    auto receive = [&] {
        return socket::try_recv(connection.far.get(), std::span<const iovec>(pieces));
    };
    EXPECT_TRUE(socket::would_block(receive()));
    ASSERT_EQ(socket::send(connection.near.get(), bytes_of("hello")), 5);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    EXPECT_EQ(receive(), 5);
    EXPECT_EQ(first[0], std::byte{'h'});
    EXPECT_EQ(second[1], std::byte{'o'});
}

TEST(Socket, SendsNoMorePiecesThanTheKernelTakes) {
    Connection connection;
    std::string one = "x";
    std::vector<iovec> pieces(IOV_MAX + 10, iovec{one.data(), 1});
    EXPECT_EQ(socket::send(connection.near.get(), std::span<const iovec>(pieces)), IOV_MAX);
}

TEST(Socket, ALostConnectionIsAnErrorNotASignal) {
    Connection connection;
    linger now{1, 0};
    ::setsockopt(connection.far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    connection.far.reset();  // sends a reset
    ASSERT_TRUE(becomes(connection.near.get(), POLLIN));
    std::array<std::byte, 16> buffer;
    EXPECT_EQ(socket::recv(connection.near.get(), buffer), -ECONNRESET);
    EXPECT_EQ(socket::send(connection.near.get(), bytes_of("x")), -EPIPE);
    EXPECT_EQ(socket::shutdown_write(connection.near.get()), -ENOTCONN);
}

TEST(Socket, ARefusedConnectSaysSoWhenItFinishes) {
    Address address;
    listening(address).reset();
    UniqueFd fd;
    ASSERT_EQ(socket::open(AF_INET, SOCK_STREAM, 0, fd), 0);
    int error = socket::start_connect(fd.get(), address);
    if (error == -EINPROGRESS) {
        ASSERT_TRUE(becomes(fd.get(), POLLOUT));
        error = socket::finish_connect(fd.get());
    }
    EXPECT_EQ(error, -ECONNREFUSED);
    EXPECT_EQ(socket::finish_connect(fd.get()), 0);  // reading the error has cleared it
}

TEST(Socket, AcceptedOnesDoNotBlockAndAreNotInherited) {
    Connection connection;
    EXPECT_TRUE(::fcntl(connection.far.get(), F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(::fcntl(connection.far.get(), F_GETFD) & FD_CLOEXEC);
    Address address, peer;
    UniqueFd listener = listening(address), none;
    EXPECT_EQ(socket::accept(listener.get(), none, peer), -EAGAIN);
    EXPECT_FALSE(none.is_open());
}

TEST(Socket, NodelayIsForTcpOnly) {
    Connection connection;
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(socket::set_nodelay(connection.near.get()), 0);
    EXPECT_EQ(::getsockopt(connection.near.get(), IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    EXPECT_NE(value, 0);
    UniqueFd local;
    ASSERT_EQ(socket::open(AF_UNIX, SOCK_STREAM, 0, local), 0);
    EXPECT_EQ(socket::set_nodelay(local.get()), 0);
    EXPECT_EQ(socket::set_nodelay(-1), -EBADF);
}

TEST(Socket, BlockingOnesBecomeNonBlocking) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(socket::set_nonblocking(fd.get()), 0);
    ASSERT_EQ(socket::set_nonblocking(fd.get()), 0);
    EXPECT_TRUE(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK);
    EXPECT_EQ(socket::set_nonblocking(-1), -EBADF);
}

TEST(Socket, InterruptedCallsAreTriedAgain) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);  // blocks
    UniqueFd near(ends[0]), far(ends[1]);
    struct sigaction ignore {
    }, before;
    ignore.sa_handler = [](int) {};  // without SA_RESTART
    sigaction(SIGUSR1, &ignore, &before);
    pthread_t reader = pthread_self();
    std::thread other([&] {
        for (int i = 0; i < 50; ++i) {
            pthread_kill(reader, SIGUSR1);
            std::this_thread::yield();
        }
        socket::send(far.get(), bytes_of("x"));
    });
    std::array<std::byte, 1> buffer;
    EXPECT_EQ(socket::recv(near.get(), buffer), 1);
    other.join();
    sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace penstock
