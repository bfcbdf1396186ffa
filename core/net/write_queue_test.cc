#include "net/write_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>

#include "net/testing.h"

namespace penstock {
namespace {

using testing::bytes_of;

std::string contents(const WriteQueue& queue) {
    std::array<iovec, 4096> pieces;
    std::string all;
    for (std::size_t i = 0, count = queue.gather(pieces); i < count; ++i)
        all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
    return all;
}

TEST(Chunk, LetsItsOwnerGoOnce) {
    int released = 0;
    auto release = [](void* owner) noexcept { ++*static_cast<int*>(owner); };
    {
        Chunk first(bytes_of("abc"), &released, release);
        Chunk second(std::move(first));
        Chunk third;
        third = std::move(second);
        EXPECT_EQ(released, 0);
        EXPECT_EQ(third.bytes().size(), 3u);
        third = Chunk();
        EXPECT_EQ(released, 1);
    }
    EXPECT_EQ(released, 1);
}

TEST(Chunk, ACopyIsIndependent) {
    std::string text = "abc";
    auto chunk = Chunk::copy(bytes_of(text));
    ASSERT_TRUE(chunk);
    text = "xyz";
    EXPECT_EQ(static_cast<char>(chunk->bytes()[0]), 'a');
}  // NOLINT(clang-analyzer-unix.Malloc): it does not follow the function that lets go

TEST(WriteQueue, ConsumesAcrossChunks) {
    WriteQueue queue;
    queue.push(*Chunk::copy(bytes_of("abc")));
    queue.push(*Chunk::copy(bytes_of("defg")));
    EXPECT_EQ(queue.bytes(), 7u);
    std::vector<Chunk> done;
    done.reserve(2);
    queue.consume(4, done);
    EXPECT_EQ(done.size(), 1u);
    EXPECT_EQ(contents(queue), "efg");
    queue.consume(0, done);
    EXPECT_EQ(done.size(), 1u);
    queue.consume(3, done);
    EXPECT_EQ(done.size(), 2u);
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.bytes(), 0u);
}

TEST(WriteQueue, HandsOutWhatIsDroppedBeforeItIsLetGo) {
    int released = 0;
    auto release = [](void* owner) noexcept { ++*static_cast<int*>(owner); };
    WriteQueue queue;
    for (int i = 0; i < 3; ++i) queue.push(Chunk(bytes_of("abc"), &released, release));
    {
        auto dropped = queue.take_all();
        EXPECT_TRUE(queue.empty());
        EXPECT_EQ(released, 0);
    }
    EXPECT_EQ(released, 3);
    EXPECT_EQ(queue.take_all(), nullptr);
}

TEST(WriteQueue, DoesWhatAStringDoes) {
    std::mt19937 random(7);
    WriteQueue queue;
    std::string model;
    for (int step = 0; step < 5000; ++step) {
        if (model.empty() || random() % 2 == 0) {
            std::string text(random() % 20, static_cast<char>('a' + step % 26));
            queue.push(*Chunk::copy(bytes_of(text)));
            model += text;
        } else {
            std::size_t count = random() % (model.size() + 1);
            std::vector<Chunk> done;
            queue.consume(count, done);
            model.erase(0, count);
        }
        ASSERT_EQ(queue.bytes(), model.size());
        ASSERT_EQ(contents(queue), model);
    }
}

}  // namespace
}  // namespace penstock
