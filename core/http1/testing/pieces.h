// An input that comes in pieces: for units and for fuzzers.
#pragma once

#include <cstddef>
#include <string_view>

#include "http1/testing/transcript.h"

namespace penstock::http1::testing {

constexpr std::size_t kAll = ~std::size_t{0};

// The pieces are `length()` bytes long; what is left of one after `before()` events is held.
template <class Length, class Before>
Transcript in_pieces(std::string_view input, const Limits& limits, Length length, Before before) {
    Transcript told(limits);
    while (!input.empty()) {
        std::string_view piece = input.substr(0, length());
        told.feed(piece, before());
        input.remove_prefix(piece.size());
    }
    while (told.step()) {
    }
    return told;
}

}  // namespace penstock::http1::testing
