#include "net/listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <functional>
#include <memory>
#include <vector>

#include "net/testing.h"

namespace penstock {
namespace {

using namespace testing;

struct Door final : Listener::Observer {
    void on_accepted(UniqueFd fd, const Address& peer) noexcept override {
        accepted.push_back(std::move(fd));
        peers.push_back(peer);
        if (then) then();
    }
    void on_exhausted(int code) noexcept override {
        exhausted = code;
        if (then) then();
    }
    void on_error(int code) noexcept override { error = code; }
    std::vector<UniqueFd> accepted;
    std::vector<Address> peers;
    int exhausted = 0, error = 0;
    std::function<void()> then;
};

class ListenerTest : public ::testing::Test {
protected:
    std::unique_ptr<Backend> selected_backend = testing::make_backend();
    Backend& backend = *selected_backend;
    Address address;
    UniqueFd fd = listening(address);
    Door door;
    std::unique_ptr<Listener> listener = std::make_unique<Listener>(backend, fd.get(), 4, door);
};

TEST_F(ListenerTest, TakesInABoundedNumberATurn) {
    ASSERT_EQ(listener->start(), 0);
    std::vector<UniqueFd> clients;
    clients.reserve(6);
    for (int i = 0; i < 6; ++i) clients.push_back(connecting(address));
    for (UniqueFd& client : clients) ASSERT_TRUE(becomes(client.get(), POLLOUT));
    turn(backend, std::chrono::seconds(5));
    EXPECT_EQ(door.accepted.size(), 4u);
    turn(backend);
    ASSERT_EQ(door.accepted.size(), 6u);
    for (std::size_t i = 0; i < 6; ++i)
        EXPECT_EQ(door.peers[i], Address::local_of(clients[i].get()));
    EXPECT_TRUE(::fcntl(door.accepted[0].get(), F_GETFL) & O_NONBLOCK);
}

TEST_F(ListenerTest, StoppedItTakesInNothing) {
    listener->start();
    UniqueFd client = connecting(address);
    ASSERT_TRUE(becomes(fd.get(), POLLIN));
    ASSERT_EQ(backend.wait(Duration::zero()), 1);
    listener->stop();
    backend.deliver(0);
    EXPECT_TRUE(door.accepted.empty());
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_FALSE(listener->is_listening());
}

TEST_F(ListenerTest, StopsWhereDescriptorsAreOut) {
    listener->start();
    UniqueFd client = connecting(address);
    ASSERT_TRUE(becomes(fd.get(), POLLIN));
    rlimit before;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 0;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    turn(backend);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(door.exhausted, EMFILE);
    EXPECT_FALSE(listener->is_listening());
    EXPECT_EQ(turn(backend), 0);  // it does not spin
    listener->start();
    turn(backend);
    EXPECT_EQ(door.accepted.size(), 1u);
}

TEST_F(ListenerTest, ACallbackMayDestroyTheListener) {
    listener->start();
    UniqueFd first = connecting(address), second = connecting(address);
    ASSERT_TRUE(becomes(second.get(), POLLOUT));
    door.then = [&] { listener.reset(); };
    turn(backend);
    EXPECT_EQ(door.accepted.size(), 1u);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(ListenerTest, ASocketThatDoesNotListenIsAnError) {
    UniqueFd idle;
    ASSERT_EQ(socket::open(AF_INET, SOCK_STREAM, 0, idle), 0);
    Listener other(backend, idle.get(), 4, door);
    ASSERT_EQ(other.start(), 0);
    turn(backend);  // an unconnected socket is reported as hung up
    EXPECT_EQ(door.error, EINVAL);
    Listener closed(backend, -1, 4, door);
    EXPECT_EQ(closed.start(), -EBADF);
}

TEST_F(ListenerTest, AConnectionThatIsResetMeanwhileIsNoError) {
    listener->start();
    for (int i = 0; i < 3; ++i) {
        UniqueFd client = connecting(address);
        ASSERT_TRUE(becomes(client.get(), POLLOUT));
        linger now{1, 0};
        ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    turn(backend);
    EXPECT_EQ(door.error, 0);
    EXPECT_TRUE(listener->is_listening());
}

}  // namespace
}  // namespace penstock
