// A test's case is fed whole, byte by byte, cut in two at each place, and at random: each way must
// tell the same.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "http1/testing/pieces.h"
#include "http1/testing/transcript.h"

namespace penstock::http1::testing {

inline Transcript whole(std::string_view input, const Limits& limits = {}) {
    Transcript told(limits);
    told.feed(input);
    return told;
}

inline void expect_told(std::string_view input, std::string_view expected,
                        const Limits& limits = {}) {
    Transcript told = whole(input, limits);
    ASSERT_EQ(told.text(), expected) << ::testing::PrintToString(input.substr(0, 500));
    ASSERT_FALSE(told.has_lied());
    auto same = [&](const Transcript& other) {
        return other.text() == told.text() && other.reason() == told.reason() && !other.has_lied();
    };
    auto always = [](std::size_t value) { return [=] { return value; }; };
    ASSERT_TRUE(same(in_pieces(input, limits, always(1), always(kAll))));
    ASSERT_TRUE(same(in_pieces(input, limits, always(1), always(1))));
    std::size_t places = std::min<std::size_t>(input.size(), 500);
    for (std::size_t cut = 1; cut < places; ++cut) {
        bool is_first = true;
        auto length = [&] { return std::exchange(is_first, false) ? cut : kAll; };
        ASSERT_TRUE(same(in_pieces(input, limits, length, always(kAll)))) << "cut at " << cut;
    }
    std::mt19937 random(1);
    for (int i = 0; i < 30; ++i) {
        std::size_t longest = 1 + random() % (input.size() + 1);
        auto length = [&] { return 1 + random() % longest; };
        auto before = [&] { return random() % 4 == 0 ? kAll : random() % 3; };
        ASSERT_TRUE(same(in_pieces(input, limits, length, before)));
    }
}

}  // namespace penstock::http1::testing
