// Runs every case, each for callgrind to count; with an argument it only says who compiled it.
#include <cstdio>

#include "base/testing/bench.h"

int main(int argc, char**) {
    if (argc > 1) {
        std::puts("C++ " __VERSION__);
        return 0;
    }
    for (const penstock::bench::Case& each : penstock::bench::cases()) each.run(each);
}
