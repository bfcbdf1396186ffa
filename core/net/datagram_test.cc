#include "net/datagram.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/testing.h"

namespace penstock {
namespace {

using namespace testing;

struct Script final : Channel::Observer {
    void on_readable() noexcept override {
        ++readable;
        if (then_readable) then_readable();
    }
    void on_written() noexcept override {
        ++written;
        if (then_written) then_written();
    }
    void on_write_error(int code) noexcept override {
        error = code;
        if (then_error) then_error();
    }
    int readable = 0, written = 0, error = 0;
    std::function<void()> then_readable, then_written, then_error;
};

Address abstract(std::string_view name) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    std::string path = std::string(1, '\0') + "penstock-datagram-test-" +
                       std::to_string(::getpid()) + std::string(name);
    path.copy(local.sun_path, path.size());
    return {reinterpret_cast<const sockaddr*>(&local),
            static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size())};
}

UniqueFd bound(const Address& address) {
    UniqueFd fd;
    EXPECT_EQ(socket::open(address.family(), SOCK_DGRAM, 0, fd), 0);
    EXPECT_EQ(socket::bind(fd.get(), address), 0);
    return fd;
}

std::optional<std::string> receive(int fd, Address* from = nullptr) {
    std::string text(1 << 16, '\0');
    Address sender;
    ssize_t size = socket::recv_from(fd, std::as_writable_bytes(std::span(text)), sender);
    if (size < 0) return std::nullopt;
    if (from != nullptr) *from = sender;
    text.resize(static_cast<std::size_t>(size));
    return text;
}

// Unix sockets: a sender waits for its receiver, where UDP would drop.
class DatagramTest : public ::testing::Test {
protected:
    // Sends until the receiver takes no more; how many it took.
    int fill() {
        int count = 0;
        while (channel->send(bytes_of("full"), far_address) == 0) ++count;
        return count;
    }
    void enqueue(std::string_view text, const Address& address) {
        EXPECT_EQ(channel->enqueue(*Chunk::copy(bytes_of(text)), address), 0);
    }

    static constexpr std::size_t kOverhead = 8;
    std::unique_ptr<Backend> selected_backend = testing::make_backend();
    Backend& backend = *selected_backend;
    Script observer;
    Address near_address = abstract("near"), far_address = abstract("far");
    UniqueFd near = bound(near_address), far = bound(far_address);
    std::unique_ptr<DatagramChannel> channel =
        std::make_unique<DatagramChannel>(backend, near.get(), observer, kOverhead);
};

TEST_F(DatagramTest, WhatIsSentHasLeft) {
    EXPECT_EQ(channel->send(bytes_of("hello"), far_address), 0);
    EXPECT_EQ(channel->send({}, far_address), 0);
    Address from;
    EXPECT_EQ(receive(far.get(), &from), "hello");
    EXPECT_EQ(from, near_address);
    EXPECT_EQ(receive(far.get()), "");
    EXPECT_EQ(receive(far.get()), std::nullopt);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(DatagramTest, AConnectedSocketNeedsNoAddress) {
    EXPECT_EQ(channel->send(bytes_of("x"), Address()), -ENOTCONN);
    EXPECT_EQ(socket::start_connect(near.get(), far_address), 0);
    EXPECT_EQ(channel->send(bytes_of("x"), Address()), 0);
    EXPECT_EQ(receive(far.get()), "x");
}

TEST_F(DatagramTest, ErrorsAreValues) {
    EXPECT_EQ(channel->send(bytes_of("x"), abstract("nobody")), -ECONNREFUSED);
    EXPECT_EQ(channel->send(std::vector<std::byte>(1 << 24), far_address), -EMSGSIZE);
}

TEST_F(DatagramTest, TheQueueLeavesInOrder) {
    int sent = fill();
    EXPECT_EQ(channel->queued(), 0u);
    enqueue("one", far_address);
    enqueue("", far_address);
    enqueue("three", far_address);
    EXPECT_EQ(channel->queued(), 8 + 3 * kOverhead);
    EXPECT_EQ(channel->send(bytes_of("overtakes"), far_address), -EAGAIN);
    EXPECT_TRUE(channel->is_writing());
    for (int i = 0; i < sent; ++i) EXPECT_EQ(receive(far.get()), "full");
    turn(backend);
    EXPECT_EQ(observer.written, 1);
    EXPECT_EQ(channel->queued(), 0u);
    EXPECT_FALSE(channel->is_writing());
    EXPECT_EQ(receive(far.get()), "one");
    EXPECT_EQ(receive(far.get()), "");
    EXPECT_EQ(receive(far.get()), "three");
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(DatagramTest, AnErrorConcernsOneDatagram) {
    fill();
    enqueue("x", far_address);
    enqueue("y", near_address);
    far.reset();
    turn(backend);
    EXPECT_EQ(observer.error, ECONNREFUSED);
    EXPECT_EQ(channel->queued(), 1 + kOverhead);
    turn(backend);
    EXPECT_EQ(observer.written, 1);
    EXPECT_EQ(receive(near.get()), "y");
}

// The last one is refused: the end of the queue is told all the same.
TEST_F(DatagramTest, AnErrorAtTheEndOfTheQueue) {
    fill();
    enqueue("x", far_address);
    far.reset();
    turn(backend);
    EXPECT_EQ(observer.error, ECONNREFUSED);
    EXPECT_EQ(observer.written, 0);
    turn(backend);
    EXPECT_EQ(observer.written, 1);
    EXPECT_FALSE(channel->is_writing());
}

TEST_F(DatagramTest, ATurnHasAnEnd) {
    int sent = fill();
    for (int i = 0; i < 200; ++i) enqueue("x", near_address);
    for (int i = 0; i < sent; ++i) receive(far.get());
    // To ourselves: everything would fit if we took it in between.
    int most = 0;
    observer.then_written = [&] {
        int arrived = 0;
        while (receive(near.get())) ++arrived;
        most = std::max(most, arrived);
    };
    while (channel->queued() > 0) turn(backend);
    EXPECT_GT(observer.written, 3);
    EXPECT_LE(most, 64);
}

TEST_F(DatagramTest, DroppingLetsGoOnce) {
    fill();
    int released = 0;
    auto release = [](void* owner) noexcept { ++*static_cast<int*>(owner); };
    EXPECT_EQ(channel->enqueue(Chunk(bytes_of("abc"), &released, release), far_address), 0);
    channel->discard();
    EXPECT_EQ(released, 1);
    EXPECT_EQ(channel->queued(), 0u);
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_EQ(channel->enqueue(Chunk(bytes_of("abc"), &released, release), far_address), 0);
    EXPECT_EQ(channel->start_reading(), 0);
    channel->detach();
    EXPECT_EQ(released, 2);
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_EQ(channel->start_reading(), -EBADF);
    EXPECT_TRUE(is_open(near.get()));
}

TEST_F(DatagramTest, ACallbackMayDestroyIt) {
    for (int which = 0; which < 3; ++which) {
        channel = std::make_unique<DatagramChannel>(backend, near.get(), observer, kOverhead);
        observer = Script();
        int sent = fill();
        enqueue("x", far_address);
        EXPECT_EQ(channel->start_reading(), 0);
        auto destroy = [&] { channel.reset(); };
        if (which == 0) {
            observer.then_readable = destroy;
            EXPECT_EQ(socket::send_to(far.get(), bytes_of("y"), near_address), 1);
        } else if (which == 1) {
            observer.then_written = destroy;
        } else {
            observer.then_error = destroy;
            far.reset();
        }
        for (int i = 0; which < 2 && i < sent; ++i) receive(far.get());
        turn(backend);
        EXPECT_EQ(channel, nullptr);
        EXPECT_EQ(backend.watched(), 0u);
        while (which < 2 && receive(far.get())) {
        }
        receive(near.get());
    }
}

}  // namespace
}  // namespace penstock
