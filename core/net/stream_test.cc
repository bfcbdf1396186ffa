#include "net/stream.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/pipe.h"
#include "net/socket.h"
#include "net/testing.h"

namespace penstock {
namespace {

using namespace testing;
using namespace std::chrono_literals;

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

class StreamTest : public ::testing::Test {
protected:
    std::string_view text = "the quick brown fox";

    // Writes until the socket is full, and then queues `more`.
    std::size_t fill(std::string_view more = "tail") {
        std::string block(1 << 16, 'b');
        std::size_t total = 0;
        for (;;) {
            ssize_t sent = stream->send(bytes_of(block));
            EXPECT_GE(sent, 0);
            if (sent == 0) break;
            total += static_cast<std::size_t>(sent);
        }
        EXPECT_EQ(stream->enqueue(*Chunk::copy(bytes_of(more))), 0);
        return total;
    }
    void reset_by_peer() {
        linger now{1, 0};
        ::setsockopt(connection.far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
        connection.far.reset();
        ASSERT_TRUE(becomes(connection.near.get(), POLLIN));
    }
    std::string read_all(std::size_t size) {
        std::string all;
        while (all.size() < size) {
            if (!becomes(connection.far.get(), POLLIN)) break;
            std::string some = drain(connection.far.get());
            if (some.empty()) break;
            all += some;
            turn(backend);
        }
        return all;
    }

    std::unique_ptr<Backend> selected_backend = testing::make_backend();
    Backend& backend = *selected_backend;
    Connection connection;
    Script observer;
    std::unique_ptr<Stream> stream =
        std::make_unique<Stream>(backend, connection.near.get(), observer);
};

TEST_F(StreamTest, WhatIsSentHasLeft) {
    EXPECT_EQ(stream->send(bytes_of(text)), static_cast<ssize_t>(text.size()));
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    EXPECT_EQ(drain(connection.far.get()), text);
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_EQ(stream->queued(), 0u);
}

TEST_F(StreamTest, SendsPiecesInOneCall) {
    std::string a = "ab", b = "cde";
    iovec pieces[] = {{a.data(), 2}, {b.data(), 3}};
    EXPECT_EQ(stream->send(std::span<const iovec>(pieces)), 5);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    EXPECT_EQ(drain(connection.far.get()), "abcde");
}

TEST_F(StreamTest, WhatTheSocketDoesNotTakeFollowsInOrder) {
    std::size_t direct = fill("one ");
    EXPECT_EQ(stream->enqueue(*Chunk::copy(bytes_of("two"))), 0);
    EXPECT_EQ(stream->queued(), 7u);
    EXPECT_TRUE(stream->is_writing());
    EXPECT_EQ(stream->send(bytes_of("never")), 0);  // something is queued: it must wait
    std::string all = read_all(direct + 7);
    EXPECT_EQ(all.substr(direct), "one two");
    EXPECT_EQ(stream->queued(), 0u);
    EXPECT_FALSE(stream->is_writing());
    EXPECT_GE(observer.written, 1);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(StreamTest, WaitsForTheSocketWithNothingToSend) {
    ASSERT_EQ(stream->wait_writable(), 0);
    EXPECT_EQ(turn(backend), 1);
    EXPECT_EQ(observer.written, 1);
    EXPECT_EQ(backend.watched(), 0u);  // once: what is to be sent is not the stream's
    ASSERT_EQ(stream->wait_writable(), 0);
    reset_by_peer();
    turn(backend);
    EXPECT_EQ(observer.written, 2);  // who sends will hear of it
    EXPECT_EQ(observer.error, 0);
}

TEST_F(StreamTest, ReadinessIsReportedOnceATurnAndOnlyWhereWanted) {
    socket::send(connection.far.get(), bytes_of(text));
    ASSERT_TRUE(becomes(connection.near.get(), POLLIN));
    turn(backend);
    EXPECT_EQ(observer.readable, 0);
    ASSERT_EQ(stream->start_reading(), 0);
    turn(backend);
    turn(backend);
    EXPECT_EQ(observer.readable, 2);
    stream->stop_reading();
    turn(backend);
    EXPECT_EQ(observer.readable, 2);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(StreamTest, ShutsDownBehindWhatIsQueued) {
    std::size_t direct = fill("tail");
    EXPECT_EQ(stream->shutdown_write(), 0);
    std::string all = read_all(direct + 4);
    EXPECT_EQ(all.size(), direct + 4);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    std::array<std::byte, 1> byte;
    EXPECT_EQ(socket::recv(connection.far.get(), byte), 0);
}

TEST_F(StreamTest, ShutsDownAtOnceWhereNothingIsQueued) {
    EXPECT_EQ(stream->shutdown_write(), 0);
    ASSERT_TRUE(becomes(connection.far.get(), POLLIN));
    std::array<std::byte, 1> byte;
    EXPECT_EQ(socket::recv(connection.far.get(), byte), 0);
}

TEST_F(StreamTest, AResetDropsWhatIsQueued) {
    fill();
    reset_by_peer();
    turn(backend);
    EXPECT_TRUE(observer.error == ECONNRESET || observer.error == EPIPE);
    EXPECT_EQ(stream->queued(), 0u);
    EXPECT_EQ(backend.watched(), 0u);
    EXPECT_EQ(stream->send(bytes_of("x")), -EPIPE);
}

TEST_F(StreamTest, ReadingComesBeforeWriting) {
    std::string order;
    fill();
    stream->start_reading();
    observer.then_readable = [&] {
        order += 'r';
        stream->stop_reading();
    };
    observer.then_written = [&] { order += 'w'; };
    socket::send(connection.far.get(), bytes_of("x"));
    ASSERT_TRUE(becomes(connection.near.get(), POLLIN));
    drain(connection.far.get());
    ASSERT_TRUE(becomes(connection.near.get(), POLLOUT));
    turn(backend);
    EXPECT_EQ(order, "rw");
}

TEST_F(StreamTest, ADetachedStreamIsSilent) {
    fill();
    stream->start_reading();
    reset_by_peer();
    ASSERT_GT(backend.wait(Duration::zero()), 0);
    stream->detach();
    backend.deliver(0);
    EXPECT_EQ(observer.readable + observer.written + observer.error, 0);
    EXPECT_EQ(stream->fd(), -1);
    EXPECT_EQ(stream->start_reading(), -EBADF);
    EXPECT_TRUE(is_open(connection.near.get()));  // borrowed
    stream->detach();
}

TEST_F(StreamTest, AnOwnedDescriptorIsClosedOnce) {
    int fd = connection.near.get();
    stream = std::make_unique<Stream>(backend, std::move(connection.near), observer);
    stream->start_reading();
    stream.reset();
    EXPECT_FALSE(is_open(fd));
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(StreamTest, EveryCallbackMayDestroyTheStream) {
    fill();
    stream->start_reading();
    socket::send(connection.far.get(), bytes_of("x"));
    ASSERT_TRUE(becomes(connection.near.get(), POLLIN));
    drain(connection.far.get());
    ASSERT_TRUE(becomes(connection.near.get(), POLLOUT));
    observer.then_readable = [&] { stream.reset(); };
    turn(backend);
    EXPECT_EQ(observer.readable, 1);
    EXPECT_EQ(observer.written, 0);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(StreamTest, OnWrittenMayDestroyTheStream) {
    fill();
    observer.then_written = [&] { stream.reset(); };
    drain(connection.far.get());
    ASSERT_TRUE(becomes(connection.near.get(), POLLOUT));
    turn(backend);
    EXPECT_EQ(stream, nullptr);
    EXPECT_EQ(observer.written, 1);
}

TEST_F(StreamTest, OnWriteErrorMayDestroyTheStream) {
    fill();
    observer.then_error = [&] { stream.reset(); };
    reset_by_peer();
    turn(backend);
    EXPECT_EQ(stream, nullptr);
    EXPECT_NE(observer.error, 0);
}

// Letting go of a chunk may run foreign code, which may use the stream.
TEST_F(StreamTest, AReleasedChunkMayUseTheStream) {
    struct Owner {
        Stream* stream;
        int released = 0;
    } owner{stream.get()};
    auto release = [](void* pointer) noexcept {
        auto* self = static_cast<Owner*>(pointer);
        ++self->released;
        EXPECT_EQ(self->stream->queued(), 0u);
        self->stream->stop_reading();
    };
    fill();
    stream->discard();
    ASSERT_EQ(stream->enqueue(Chunk(bytes_of(text), &owner, release)), 0);
    stream->discard();
    EXPECT_EQ(owner.released, 1);
    ASSERT_EQ(stream->enqueue(Chunk(bytes_of(text), &owner, release)), 0);
    drain(connection.far.get());
    ASSERT_TRUE(becomes(connection.near.get(), POLLOUT));
    turn(backend);
    EXPECT_EQ(owner.released, 2);
}

TEST_F(StreamTest, AnUnrelatedConnectionOfTheSameNumberIsUntouched) {
    stream->start_reading();
    int number = connection.near.get();
    socket::send(connection.far.get(), bytes_of("old"));
    ASSERT_TRUE(becomes(number, POLLIN));
    ASSERT_EQ(backend.wait(Duration::zero()), 1);
    stream->detach();
    Connection other;
    connection.near.reset();
    UniqueFd reused(::dup3(other.near.get(), number, O_CLOEXEC));
    ASSERT_EQ(reused.get(), number);
    Script bystander;
    Stream second(backend, number, bystander);
    second.start_reading();
    backend.deliver(0);  // the old event
    EXPECT_EQ(bystander.readable, 0);
    stream.reset();
    EXPECT_EQ(backend.watched(), 1u);
    EXPECT_EQ(second.send(bytes_of("x")), 1);
}

class PipeStreamTest : public ::testing::Test {
protected:
    ssize_t read(std::span<std::byte> into) { return pipe::read(ends.reading.get(), into); }

    std::unique_ptr<Backend> selected_backend = testing::make_backend();
    Backend& backend = *selected_backend;
    Pipe ends;
    Script observer;
    std::vector<std::byte> buffer = std::vector<std::byte>(1 << 16);
};

TEST_F(PipeStreamTest, ReceivesUntilTheEnd) {
    Stream stream(backend, ends.reading.get(), observer, Stream::Kind::kPipe);
    ASSERT_EQ(stream.start_reading(), 0);
    pipe::write(ends.writing.get(), bytes_of("ping"));
    turn(backend);
    EXPECT_EQ(observer.readable, 1);
    EXPECT_EQ(stream.receive(buffer), 4);
    EXPECT_TRUE(socket::would_block(stream.receive(buffer)));
    ends.writing.reset();
    turn(backend);
    EXPECT_EQ(observer.readable, 2);
    EXPECT_EQ(stream.receive(buffer), 0);
}

TEST_F(PipeStreamTest, WhatAFullPipeDoesNotTakeFollows) {
    Stream stream(backend, ends.writing.get(), observer, Stream::Kind::kPipe);
    std::string block(1 << 20, 'b');
    auto direct = stream.send(bytes_of(block));
    ASSERT_GT(direct, 0);
    EXPECT_EQ(stream.send(bytes_of("x")), 0);
    ASSERT_EQ(stream.enqueue(*Chunk::copy(bytes_of("tail"))), 0);
    turn(backend);
    EXPECT_EQ(observer.written, 0);
    for (ssize_t got = 0; got < direct;) got += read(buffer);
    turn(backend);
    EXPECT_EQ(observer.written, 1);
    EXPECT_EQ(read(buffer), 4);
    EXPECT_EQ(backend.watched(), 0u);
}

TEST_F(PipeStreamTest, TheEndOfTheReaderShowsAsReadable) {
    Stream stream(backend, ends.writing.get(), observer, Stream::Kind::kPipe);
    ASSERT_EQ(stream.start_reading(), 0);
    stream.send(bytes_of("nobody reads this"));
    turn(backend);
    EXPECT_EQ(observer.readable, 0);
    ends.reading.reset();
    turn(backend);
    EXPECT_EQ(observer.readable, 1);
}

TEST_F(PipeStreamTest, OneFdHasTwoStreamsWhereOneWatchesADuplicate) {
    Connection terminal;  // any fd that goes both ways
    int fd = terminal.near.get();
    Script other;
    Stream reads(backend, fd, observer, Stream::Kind::kPipe);
    ASSERT_EQ(reads.start_reading(), 0);
    Stream writes(backend, fd, other, Stream::Kind::kPipe);
    ASSERT_EQ(writes.move_to_duplicate(), 0);
    EXPECT_NE(writes.fd(), fd);
    ASSERT_EQ(writes.enqueue(*Chunk::copy(bytes_of("out"))), 0);
    socket::send(terminal.far.get(), bytes_of("in"));
    ASSERT_TRUE(becomes(fd, POLLIN));
    turn(backend);
    EXPECT_EQ(observer.readable, 1);
    EXPECT_EQ(other.written, 1);
    // The one that was there first can leave as well, and goes on watching.
    ASSERT_EQ(reads.move_to_duplicate(), 0);
    EXPECT_TRUE(reads.is_reading());
    turn(backend);
    EXPECT_EQ(observer.readable, 2);
    int copy = reads.fd();
    EXPECT_EQ(reads.move_to_duplicate(), 0);
    EXPECT_EQ(reads.fd(), copy);
}

TEST_F(PipeStreamTest, ItsDuplicateIsClosedWithIt) {
    auto stream =
        std::make_unique<Stream>(backend, ends.reading.get(), observer, Stream::Kind::kPipe);
    ASSERT_EQ(stream->move_to_duplicate(), 0);
    int copy = stream->fd();
    stream->start_reading();
    stream.reset();
    EXPECT_FALSE(is_open(copy));
    EXPECT_TRUE(is_open(ends.reading.get()));
    EXPECT_EQ(backend.watched(), 0u);
}

}  // namespace
}  // namespace penstock
