// The decoder of chunks against one that has the whole body before it, and splits it at line ends.
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "http1/chunked.h"

namespace penstock::http1 {
namespace {

using Step = ChunkedDecoder::Step;

void require(bool is_so) {
    if (!is_so) std::abort();
}

struct Decoded {
    std::string data;
    std::size_t used = 0;

    bool operator==(const Decoded&) const = default;
};

// nullopt where the body is not complete, or wrong.
std::optional<Decoded> in_pieces(std::string_view input, std::size_t length) {
    Decoded decoded;
    ChunkedDecoder decoder;
    Refusal refusal;
    while (decoded.used < input.size()) {
        // In memory of its own, for what is read beyond to be seen.
        std::string piece(input.substr(decoded.used, length));
        std::string_view rest = piece;
        std::string_view data;
        Step step = Step::kData;
        while (step == Step::kData) {
            step = decoder.next(rest, Limits(), data, refusal);
            if (step == Step::kData) {
                require(!data.empty());
                decoded.data += data;
            }
        }
        decoded.used += piece.size() - rest.size();
        if (step == Step::kLast) return decoded;
        if (step == Step::kRefused) return std::nullopt;
        require(rest.empty());
    }
    return std::nullopt;
}

std::optional<Decoded> whole(std::string_view input) {
    Decoded decoded;
    for (;;) {
        std::string_view rest = input.substr(decoded.used);
        std::size_t line = rest.find("\r\n");
        if (line == std::string_view::npos) return std::nullopt;
        std::uint64_t size = 0;
        const char* end = rest.data() + std::min(line, rest.find(';'));
        auto [last, error] = std::from_chars(rest.data(), end, size, 16);
        if (error != std::errc() || last != end) return std::nullopt;
        decoded.used += line + 2;
        if (size == 0) return decoded;
        rest.remove_prefix(line + 2);
        if (size > rest.size() || rest.substr(size, 2) != "\r\n") return std::nullopt;
        decoded.data += rest.substr(0, size);
        decoded.used += size + 2;
    }
}

}  // namespace
}  // namespace penstock::http1

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace penstock::http1;
    std::string_view input(reinterpret_cast<const char*>(data), size);
    std::optional<Decoded> decoded = in_pieces(input, size);
    for (std::size_t length : {1, 2, 7}) require(in_pieces(input, length) == decoded);
    // The other knows neither limits nor how extensions are written, so it accepts more.
    if (decoded) require(whole(input) == decoded);
    return 0;
}
