// A connection's bytes through the parser of requests: whole, byte by byte and in random pieces it
// must tell the same, and a head that it accepts must be the same head once it is written anew.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include "http1/testing/pieces.h"

namespace penstock::http1 {
namespace {

using testing::in_pieces;
using testing::kAll;
using testing::Transcript;

constexpr Limits kTight = {.target_bytes = 20,
                           .head_bytes = 120,
                           .fields = 4,
                           .body_bytes = 12,
                           .chunk_extension_bytes = 6,
                           .free_chunks = 2,
                           .bytes_a_chunk = 3,
                           .trailer_bytes = 12};

void require(bool is_so) {
    if (!is_so) std::abort();
}

void check_splits(std::string_view input, const Limits& limits) {
    std::mt19937 random(static_cast<unsigned>(std::hash<std::string_view>()(input)));
    Transcript whole = in_pieces(
        input, limits, [] { return kAll; }, [] { return kAll; });
    std::size_t longest = 1 + random() % (input.size() + 1);
    Transcript pieces = in_pieces(
        input, limits, [&] { return 1 + random() % longest; },
        [&] { return random() % 4 == 0 ? kAll : random() % 3; });
    Transcript bytes = in_pieces(
        input, limits, [] { return 1; }, [] { return kAll; });
    for (const Transcript* each : {&whole, &pieces, &bytes}) {
        require(each->text() == whole.text());
        require(each->reason() == whole.reason());
        require(!each->has_lied());
    }
}

std::string written(const Request& request) {
    std::string text(request.method);
    ((text += ' ') += request.target) += " HTTP/1." + std::to_string(request.minor) + "\r\n";
    for (const Field& field : request.fields)
        (((text += field.name) += ": ") += field.value) += "\r\n";
    return text += "\r\n";
}

void check_heads(std::string_view input) {
    RequestParser parser{{}};
    parser.feed(std::as_bytes(std::span(input)));
    for (Event event; (event = parser.next()) != Event::kNeedMore && event != Event::kRefused;) {
        if (event != Event::kHead) continue;
        std::string head = written(parser.request());
        RequestParser again{{.head_bytes = head.size()}};
        again.feed(std::as_bytes(std::span(head)));
        require(again.next() == Event::kHead);
        require(written(again.request()) == head);
        require(again.request().framing == parser.request().framing);
        require(again.request().length == parser.request().length);
        require(again.request().upgrade == parser.request().upgrade);
    }
}

}  // namespace
}  // namespace penstock::http1

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    penstock::http1::check_splits(input, {});
    penstock::http1::check_splits(input, penstock::http1::kTight);
    penstock::http1::check_heads(input);
    return 0;
}
