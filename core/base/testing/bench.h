// Micro benchmarks whose instructions are counted, one case a BENCH in a *_bench.cc beside the
// code.
//
// A case prepares what it needs, and hands the work to measure(), which runs it kIterations times:
// once to warm up, once counted by callgrind, which writes a profile that bears the case's name.
// `./dev instructions` compares these with what is recorded. Outside of valgrind nothing is
// counted.
#pragma once

#include <valgrind/callgrind.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace penstock::bench {

constexpr std::size_t kIterations = 1000;

struct Case {
    std::string name;
    void (*run)(const Case&);

    template <class Work>
    void measure(Work work) const {
        for (std::size_t i = 0; i < kIterations; ++i) work();
        CALLGRIND_ZERO_STATS;
        for (std::size_t i = 0; i < kIterations; ++i) work();
        CALLGRIND_DUMP_STATS_AT(name.c_str());
    }
};

inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

struct Registration {
    Registration(const char* name, void (*run)(const Case&)) { cases().push_back({name, run}); }
};

// The compiler must take it that somebody looks at the value.
template <class T>
void keep(const T& value) {
    asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace penstock::bench

#define PENSTOCK_BENCH_JOIN(a, b) a##b
#define PENSTOCK_BENCH_NAMED(line, text)                                                    \
    static void PENSTOCK_BENCH_JOIN(bench_at_, line)(const ::penstock::bench::Case&);       \
    static const ::penstock::bench::Registration PENSTOCK_BENCH_JOIN(registered_at_, line)( \
        text, PENSTOCK_BENCH_JOIN(bench_at_, line));                                        \
    static void PENSTOCK_BENCH_JOIN(bench_at_, line)(const ::penstock::bench::Case& bench)
#define BENCH(text) PENSTOCK_BENCH_NAMED(__LINE__, text)
