// Every scanner must find what the scalar one finds, from every start.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http1/scanner.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace penstock::http1;
    const char* end = reinterpret_cast<const char*>(data) + size;
    for (auto scan : {&Scanner::token, &Scanner::target, &Scanner::value})
        for (const char* at = end - size; at <= end; ++at)
            for (const Scanner& each : scanners())
                if ((each.*scan)(at, end) != (scanners()[0].*scan)(at, end)) std::abort();
    return 0;
}
