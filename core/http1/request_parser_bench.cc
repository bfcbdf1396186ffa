#include "http1/request_parser.h"

#include <algorithm>
#include <string>

#include "base/testing/bench.h"
#include "http1/response.h"

namespace penstock::http1 {
namespace {

const std::string kOfALoadGenerator =
    "GET /plaintext HTTP/1.1\r\n"
    "Host: localhost:8080\r\n"
    "Accept: text/html,text/plain;q=0.9,*/*;q=0.8\r\n"
    "User-Agent: load/1.0\r\n"
    "Accept-Encoding: gzip\r\n"
    "Connection: keep-alive\r\n"
    "\r\n";

const std::string kOfABrowser =
    "GET /articles/2024/05/a-title-of-some-words?page=2&order=newest HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Referer: https://www.example.org/articles/2024/05/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n"
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=1714550400\r\n"
    "\r\n";

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

void parse(RequestParser& parser, std::string_view text, std::size_t piece) {
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
        parser.feed(bytes_of(text.substr(0, piece)));
        for (Event event; (event = parser.next()) != Event::kNeedMore;) bench::keep(event);
    }
}

void measure(const bench::Case& bench, const std::string& text, std::size_t piece = 65536) {
    RequestParser parser{{}};
    bench.measure([&] { parse(parser, text, piece); });
}

BENCH("http1: a load generator's request, 5 fields") { measure(bench, kOfALoadGenerator); }
BENCH("http1: a browser's request, 11 fields") { measure(bench, kOfABrowser); }
BENCH("http1: a browser's request in two reads") { measure(bench, kOfABrowser, 600); }

// Ten times the bytes must be ten times the work.
std::string with_long_field(std::size_t size) {
    return "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(size, 'x') + "\r\n\r\n";
}
BENCH("http1: a head of 1 KB, byte by byte") { measure(bench, with_long_field(1000), 1); }
BENCH("http1: a head of 10 KB, byte by byte") { measure(bench, with_long_field(10000), 1); }

BENCH("http1: a body of ten chunks of 1 KiB") {
    std::string body = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 10; ++i) body += "400\r\n" + std::string(1024, 'x') + "\r\n";
    measure(bench, body + "0\r\n\r\n");
}

BENCH("http1: a response's head") {
    std::string out;
    DateLine date;
    bench.measure([&] {
        out.clear();
        append_status_line(out, 200);
        out += date.at(0);
        append_field(out, "content-type", "text/plain; charset=utf-8");
        out += "content-length: ";
        append_number(out, 13);
        out += "\r\n\r\n";
        bench::keep(out);
    });
}

}  // namespace
}  // namespace penstock::http1
