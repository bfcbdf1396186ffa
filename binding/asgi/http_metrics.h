// What a server counts: written by its connections on the loop's thread, read by
// HttpServer.metrics(). A request costs a few increments here and one look at the clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "py/python.h"

namespace penstock::py {

struct HttpMetrics {
    // Upper bounds of the histogram's buckets, in nanoseconds; what takes longer has one more.
    static constexpr std::array<std::int64_t, 14> kBounds = {
        500'000,       1'000'000,     2'500'000,     5'000'000,     10'000'000,
        25'000'000,    50'000'000,    100'000'000,   250'000'000,   500'000'000,
        1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
    static constexpr std::size_t kClasses = 6;  // a status's first digit; 0: no usual status

    std::uint64_t accepted = 0;  // connections since the start
    std::uint64_t received = 0;  // bytes, without those of TLS
    std::uint64_t sent = 0;
    std::uint64_t lost = 0;     // requests whose client has gone before its response was complete
    std::uint64_t seconds = 0;  // of all responses together, in nanoseconds
    std::uint64_t websockets = 0;  // accepted
    std::uint64_t messages_received = 0, messages_sent = 0;
    std::array<std::uint64_t, kClasses> responses{};
    std::array<std::uint64_t, kBounds.size() + 1> took{};

    void count_response(int status) noexcept {
        auto digit = static_cast<std::size_t>(status / 100);
        ++responses[digit < kClasses ? digit : 0];
    }
    void count_response(int status, Duration elapsed) noexcept {
        count_response(status);
        std::int64_t nanoseconds = elapsed.count();
        std::size_t bucket = 0;
        while (bucket < kBounds.size() && nanoseconds > kBounds[bucket]) ++bucket;
        ++took[bucket];
        seconds += static_cast<std::uint64_t>(nanoseconds);
    }
};

// {name: number, or list of numbers}; nullptr with an exception set.
PyObject* dict_of_metrics(const HttpMetrics& metrics) noexcept;

}  // namespace penstock::py
