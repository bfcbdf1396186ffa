#include "websocket/deflate.h"

#include <gtest/gtest.h>

#include <random>

namespace penstock::websocket {
namespace {

std::string inflated(std::string_view data) {
    Inflater inflater;
    std::string out;
    for (std::string_view piece : {data, Inflater::kTail})
        while (inflater.next(piece) == Inflater::Step::kOutput) out += inflater.output();
    return out;
}

std::string letters(std::size_t size, unsigned many) {
    std::mt19937 random(3);
    std::string text;
    while (text.size() < size) text += static_cast<char>('a' + random() % many);
    return text;
}

TEST(Deflate, ThereAndBack) {
    DeflatePool pool;
    for (int bits = 9; bits <= 15; ++bits)
        for (std::size_t size : {64, 100, 4096, 4097, 100000, 3000000}) {
            std::string text = letters(size, 3);
            std::string_view data = pool.pack(text, bits);
            ASSERT_FALSE(data.empty()) << bits << ' ' << size;
            ASSERT_LT(data.size(), size);
            ASSERT_EQ(inflated(data), text) << bits << ' ' << size;
        }
}

// What a window is too small for must not be looked up in a larger one.
TEST(Deflate, TheWindowIsKeptTo) {
    DeflatePool pool;
    std::string noise = letters(2000, 26);
    std::string text = noise + noise;
    std::size_t small = pool.pack(text, 9).size();
    EXPECT_GT(small, pool.pack(text, 15).size() * 3 / 2);
}

TEST(Deflate, NotWhereItIsNotWorthIt) {
    DeflatePool pool;
    EXPECT_TRUE(pool.pack("", 15).empty());
    EXPECT_TRUE(pool.pack(std::string(63, 'x'), 15).empty());
    std::mt19937 random(4);
    std::string noise;
    while (noise.size() < 100000) noise += static_cast<char>(random());
    EXPECT_TRUE(pool.pack(noise, 15).empty());
    EXPECT_TRUE(pool.pack(noise.substr(0, 1000), 15).empty());
    EXPECT_EQ(inflated(pool.pack(std::string(1000, 'x'), 15)), std::string(1000, 'x'));
}

TEST(Deflate, InflatersServeAgain) {
    DeflatePool pool;
    std::unique_ptr<Inflater> one = pool.take();
    Inflater* first = one.get();
    std::string_view junk = "\xff\xff";
    EXPECT_EQ(one->next(junk), Inflater::Step::kRefused);
    pool.give_back(std::move(one));
    EXPECT_EQ(pool.idle(), 1U);
    one = pool.take();
    EXPECT_EQ(one.get(), first);
    std::string text = letters(1000, 3);
    std::string_view data = pool.pack(text, 15);
    std::string out;
    while (one->next(data) == Inflater::Step::kOutput) out += one->output();
    std::string_view tail = Inflater::kTail;
    while (one->next(tail) == Inflater::Step::kOutput) out += one->output();
    EXPECT_EQ(out, text);
    for (int i = 0; i < 10; ++i) pool.give_back(std::make_unique<Inflater>());
    EXPECT_LE(pool.idle(), 4U);
}

}  // namespace
}  // namespace penstock::websocket
