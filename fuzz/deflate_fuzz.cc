// Compressed messages: what a client sends is inflated alike whole and in pieces, and what we pack
// of the same bytes comes back, within the window that was agreed on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "websocket/deflate.h"
#include "websocket/deflate_offer.h"

namespace penstock::websocket {
namespace {

void require(bool is_so) {
    if (!is_so) std::abort();
}

constexpr std::size_t kMost = std::size_t{1} << 20U;

// nullopt where it can't be inflated, or is too much.
std::optional<std::string> inflated(std::string_view data, std::size_t length) {
    Inflater inflater;
    std::string out;
    auto take = [&](std::string_view piece) {
        for (;;) {
            Inflater::Step step = inflater.next(piece);
            if (step != Inflater::Step::kOutput) return step == Inflater::Step::kNeedInput;
            require(!inflater.output().empty());
            out += inflater.output();
            if (out.size() > kMost) return false;
        }
    };
    while (!data.empty()) {
        std::string piece(data.substr(0, length));
        data.remove_prefix(piece.size());
        if (!take(piece)) return std::nullopt;
    }
    if (!take(Inflater::kTail)) return std::nullopt;
    return out;
}

}  // namespace
}  // namespace penstock::websocket

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace penstock::websocket;
    std::string_view input(reinterpret_cast<const char*>(data), size);
    std::optional<std::string> whole = inflated(input, size + 1);
    for (std::size_t length : {1, 2, 7}) require(inflated(input, length) == whole);

    static DeflatePool pool;
    int bits = 9 + static_cast<int>(size % 7);
    std::string packed(pool.pack(input, bits));
    require(packed.size() < size || packed.empty());
    if (!packed.empty()) require(inflated(packed, packed.size()) == std::string(input));

    if (std::optional<DeflateTerms> terms = agree_on_deflate(input)) {
        std::optional<DeflateTerms> again = agree_on_deflate(deflate_response(*terms));
        require(again && again->server_window_bits == terms->server_window_bits);
    }
    return 0;
}
