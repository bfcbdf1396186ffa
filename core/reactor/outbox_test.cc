#include "reactor/outbox.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reactor/reactor.h"
#include "reactor/testing/memory_backend.h"

namespace penstock {
namespace {

using Sent = std::vector<std::pair<char, std::string>>;

struct Writer final : Outbox::Writer {
    Writer(char its_name, Sent& to) : name(its_name), sent(to) {}
    void send_kept(std::span<const std::byte> bytes) noexcept override {
        sent.emplace_back(name, text(bytes));
    }
    static std::string text(std::span<const std::byte> bytes) {
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    char name;
    Sent& sent;
};

bool keep(Outbox& outbox, Writer& writer, std::string_view text) {
    iovec piece{const_cast<char*>(text.data()), text.size()};
    return outbox.keep(writer, {&piece, 1}, text.size());
}

// Each word is an index into what is to be done.
struct Host {
    std::vector<std::function<void()>> actions;
    bool stops = false;
    void run(Word word) { actions[word](); }
    bool stopping() const { return stops; }
    int wait(Backend& backend, Duration timeout) { return backend.wait(timeout); }
    void wait_failed(int) {}
    bool interrupted() const { return false; }
    Duration clock_shift() const { return Duration::zero(); }
    bool failed() const { return false; }
};

class OutboxTest : public ::testing::Test {
protected:
    // Runs the actions in one turn, and then no more.
    void turn(std::vector<std::function<void()>> actions) {
        host.actions = std::move(actions);
        host.actions.back() = [this, last = host.actions.back()] {
            last();
            host.stops = true;
        };
        for (Word i = 0; i < host.actions.size(); ++i) ASSERT_TRUE(reactor.try_push(i));
        reactor.run(host);
    }

    Sent sent;
    Writer a{'a', sent}, b{'b', sent};
    Reactor reactor{std::make_unique<testing::MemoryBackend>()};
    Outbox& outbox = reactor.backend().outbox();
    Host host;
};

TEST_F(OutboxTest, KeepsNothingOutsideOfATurn) { EXPECT_FALSE(keep(outbox, a, "x")); }

TEST_F(OutboxTest, KeepsNothingWhereNothingElseIsToRun) {
    turn({[&] { EXPECT_FALSE(keep(outbox, a, "x")); }});
    EXPECT_TRUE(sent.empty());
}

TEST_F(OutboxTest, SendsAllAtTheEndOfTheTurn) {
    turn({[&] {
              EXPECT_TRUE(keep(outbox, a, "1"));
              EXPECT_TRUE(keep(outbox, a, "2"));
          },
          [&] {
              EXPECT_TRUE(sent.empty());
              EXPECT_TRUE(keep(outbox, b, "3"));
          }});
    EXPECT_EQ(sent, (Sent{{'a', "12"}, {'b', "3"}}));
    EXPECT_TRUE(outbox.empty());
}

TEST_F(OutboxTest, SendsBehindTheEntryThatTakesLong) {
    turn({[&] { EXPECT_TRUE(keep(outbox, a, "1")); },
          [&] {
              TimePoint end = now() + Outbox::kMostTime;
              while (now() < end) continue;
          },
          [&] {
              EXPECT_EQ(sent, (Sent{{'a', "1"}}));
          }});
}

TEST_F(OutboxTest, GivesBackWhatIsTaken) {
    turn({[&] {
              EXPECT_TRUE(keep(outbox, a, "1"));
              EXPECT_TRUE(keep(outbox, b, "2"));
              EXPECT_FALSE(outbox.is_last(a));
              EXPECT_EQ(Writer::text(outbox.take(a)), "1");
              EXPECT_EQ(Writer::text(outbox.take(a)), "");
          },
          [] {}});
    EXPECT_EQ(sent, (Sent{{'b', "2"}}));
}

TEST_F(OutboxTest, KeepsNoMoreThanItHasRoomFor) {
    std::string large(Outbox::kMostAWrite, 'x');
    turn({[&] {
              EXPECT_FALSE(keep(outbox, a, large + "x"));
              for (std::size_t i = 0; i < Outbox::kMostBytes / Outbox::kMostAWrite; ++i)
                  EXPECT_TRUE(keep(outbox, i % 2 == 0 ? a : b, large));
              EXPECT_FALSE(keep(outbox, b, "x"));
          },
          [] {}});
    EXPECT_EQ(sent.size(), 8U);
}

}  // namespace
}  // namespace penstock
