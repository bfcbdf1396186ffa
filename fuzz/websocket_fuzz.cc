// The reader of a WebSocket's messages, fed whole and in pieces: it tells the same, and what it
// tells keeps to RFC 6455. The first byte says how it is set up.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "websocket/close_code.h"
#include "websocket/message_reader.h"
#include "websocket/utf8.h"

namespace penstock::websocket {
namespace {

void require(bool is_so) {
    if (!is_so) std::abort();
}

// Takes at most `most` events of a piece before what is left is held.
std::string told(std::string_view input, std::size_t length, std::size_t most, const Limits& limits,
                 bool may_be_deflated) {
    std::string out;
    DeflatePool pool;
    MessageReader reader(limits, pool, may_be_deflated);
    bool has_ended = false;
    auto step = [&] {
        Event event = reader.next();
        if (event == Event::kNeedMore) return false;
        if (event == Event::kFailed && has_ended) return false;
        require(!has_ended);
        has_ended = event == Event::kClose || event == Event::kFailed;
        std::string_view message = reader.message();
        if (event == Event::kText || event == Event::kClose) require(is_utf8(message));
        if (event == Event::kPing || event == Event::kPong)
            require(message.size() <= kMostOfControl);
        if (event == Event::kText || event == Event::kBinary)
            require(message.size() <= limits.message_bytes);
        if (event == Event::kClose)
            require(reader.code() == kNoStatus || is_close_code(reader.code()));
        out += static_cast<char>(event);
        if (has_ended) out += std::to_string(reader.code());
        out += event == Event::kFailed ? std::string_view(reader.reason()) : message;
        out += '\n';
        return !has_ended;
    };
    while (!input.empty()) {
        // In memory of its own, for what is read beyond to be seen.
        std::string piece(input.substr(0, length));
        input.remove_prefix(piece.size());
        reader.feed(std::as_bytes(std::span(piece.data(), piece.size())));
        for (std::size_t i = 0; i < most && step(); ++i) {
        }
        reader.hold();
    }
    while (step()) {
    }
    return out;
}

}  // namespace
}  // namespace penstock::websocket

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace penstock::websocket;
    if (size == 0) return 0;
    bool may_be_deflated = (data[0] & 1U) != 0;
    Limits limits{.message_bytes = (data[0] & 2U) != 0 ? std::size_t{100} : std::size_t{1} << 20U,
                  .free_fragments = 8,
                  .bytes_a_fragment = 4,
                  .inflation = (data[0] & 4U) != 0 ? std::size_t{4} : 0,
                  .free_inflated = 64};
    std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    constexpr std::size_t kAll = ~std::size_t{0};
    std::string whole = told(input, kAll, kAll, limits, may_be_deflated);
    for (std::size_t length : {1, 2, 7})
        for (std::size_t most : {kAll, std::size_t{0}, std::size_t{1}})
            require(told(input, length, most, limits, may_be_deflated) == whole);
    return 0;
}
