// Heads, as a table of what is sent and what is told of it. All go through the parser, split in
// every way.
#include "http1/request_head.h"

#include <gtest/gtest.h>

#include <string>

#include "http1/testing/splits.h"

namespace penstock::http1 {
namespace {

using testing::expect_told;

struct Case {
    std::string sent;
    std::string told;
};

void expect_all(std::initializer_list<Case> cases) {
    for (const Case& each : cases) {
        SCOPED_TRACE(::testing::PrintToString(each.sent));
        expect_told(each.sent, each.told);
    }
}

// Lines that follow a valid request line and Host, with what is told behind "[Host: a]".
void expect_fields(std::initializer_list<Case> cases) {
    for (const Case& each : cases) {
        SCOPED_TRACE(::testing::PrintToString(each.sent));
        std::string sent = "POST / HTTP/1.1\r\nHost: a\r\n" + each.sent + "\r\n";
        bool is_refused = each.told.size() == 3;
        expect_told(sent, is_refused ? each.told + "\n" : "POST / HTTP/1.1 [Host: a]" + each.told);
    }
}

std::string with_host(std::string_view line) { return std::string(line) + "\r\nHost: a\r\n\r\n"; }

TEST(RequestHead, RequestLine) {
    expect_all({
        {with_host("GET / HTTP/1.1"), "GET / HTTP/1.1 [Host: a] keep\nend\n"},
        {with_host("get / HTTP/1.1"), "get / HTTP/1.1 [Host: a] keep\nend\n"},
        {with_host("M-SEARCH / HTTP/1.1"), "M-SEARCH / HTTP/1.1 [Host: a] keep\nend\n"},
        {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0  close\nend\n"},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
         "GET / HTTP/1.0 [Connection: Keep-Alive] keep\nend\n"},
        {with_host("\r\nGET / HTTP/1.1"), "GET / HTTP/1.1 [Host: a] keep\nend\n"},
        {with_host("\r\n\r\nGET / HTTP/1.1"), "GET / HTTP/1.1 [Host: a] keep\nend\n"},
        {with_host("\r\n\r\n\r\nGET / HTTP/1.1"), "400\n"},
        {with_host("\nGET / HTTP/1.1"), "400\n"},
        {with_host("\rGET / HTTP/1.1"), "400\n"},
        {with_host(" GET / HTTP/1.1"), "400\n"},
        {with_host("GET  / HTTP/1.1"), "400\n"},
        {with_host("GET /  HTTP/1.1"), "400\n"},
        {with_host("GET / HTTP/1.1 "), "400\n"},
        {with_host("GET\t/ HTTP/1.1"), "400\n"},
        {with_host("GET /\tHTTP/1.1"), "400\n"},
        {with_host("GET / \tHTTP/1.1"), "400\n"},
        {with_host("GET / a HTTP/1.1"), "400\n"},
        {with_host("GET /"), "400\n"},
        {"GET /\r\n", "400\n"},
        {"GET / \r\n", "400\n"},
        {"GET\r\n", "400\n"},
        {"GET / HTTP/1.1\nHost: a\n\n", "400\n"},
        {"GET / HTTP/1.1\rHost: a\r\r", "400\n"},
        {"GET / HTTP/1.1\r\r\n", "400\n"},
        {with_host("G(T / HTTP/1.1"), "400\n"},
        {with_host("G\xC3\x89T / HTTP/1.1"), "400\n"},
        {with_host(std::string("G\0T / HTTP/1.1", 14)), "400\n"},
        {with_host(std::string(32, 'M') + " / HTTP/1.1"),
         std::string(32, 'M') + " / HTTP/1.1 [Host: a] keep\nend\n"},
        {with_host(std::string(33, 'M') + " / HTTP/1.1"), "501\n"},
        {std::string(33, 'M'), "501\n"},
    });
}

TEST(RequestHead, Version) {
    for (const char* version : {"HTTP/0.9", "HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/9.9",
                                "HTTP/1.2", "HTTP/1.9", "HTTP/0.0"})
        expect_told("GET / " + std::string(version), "505\n");
    for (const char* version :
         {"HTTP/1.10", "HTTP/11.1", "HTTP/1,1", "HTTP/1.", "HTTP/.1", "HTTP/1", "http/1.1",
          "HTTP /1.1", "HTTP/ 1.1", "HTTP/1. 1", "HTTP/-1.1", "HTTP/1.1x", "HTTP/+1.1", "HTTPS/1.1",
          "ICE/1.0", "RTSP/1.0", "X"})
        expect_told("GET / " + std::string(version) + "\r\n", "400\n");
}

// As soon as it is seen that they can't be, not when the head is complete.
TEST(RequestHead, OtherProtocols) {
    expect_all({
        {"\x16\x03\x01", "400\n"},  // TLS
        {"\x16", "400\n"},
        {"PRI * HTTP/2.0", "505\n"},  // HTTP/2, RFC 9113, 3.4
        {"PRI / HTTP/1.1", "505\n"},
        {"SSH-2.0-OpenSSH_9.2\r\n", "400\n"},
        {"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "400\n"},
        {std::string("\r\n\r\n\0\r\nQUIT\n", 12), "400\n"},
        {"{\"jsonrpc\"", "400\n"},
        {std::string(1, '\0'), "400\n"},
        {"GET /\n", "400\n"},
        {"GET / HTTP/1.1\n", "400\n"},
    });
}

TEST(RequestHead, Target) {
    auto told = [](std::string_view line) { return std::string(line) + " [Host: a] keep\nend\n"; };
    for (const char* line : {
             "GET /a/b%20c?d=e&f=[g]|{h}\"<>\\^`'; HTTP/1.1",
             "GET //a/../b HTTP/1.1",
             "GET /? HTTP/1.1",
             "OPTIONS * HTTP/1.1",
             "OPTIONS / HTTP/1.1",
             "GET http://a/ HTTP/1.1",
             "GET HTTP://A HTTP/1.1",
             "GET https://a?b HTTP/1.1",
             "GET http://a/http://b/ HTTP/1.1",
         })
        expect_told(with_host(line), told(line));
    for (const char* target : {"a",           "a/b",          "?a",
                               "*",           "*/",           "**",
                               "/#a",         "/a#",          "http://",
                               "http:///",    "http:/a",      "http:a",
                               "ftp://a/",    "ws://a/",      "javascript:a",
                               "http://b/",   "http://a:80/", "http://user@a/",
                               "http://a:b/", "http://a\\b/", "http://[a/",
                               "a:80",        "/\xC3\xA9",    "/\x7F",
                               "/\x01",       "/a\vb"})
        expect_told(with_host("GET " + std::string(target) + " HTTP/1.1"), "400\n");
    expect_told(with_host("OPTIONS *a HTTP/1.1"), "400\n");
    expect_told(with_host(std::string("GET /\0 HTTP/1.1", 15)), "400\n");
}

TEST(RequestHead, Connect) {
    expect_all({
        {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
         "CONNECT a:443 HTTP/1.1 [Host: a:443] keep\nend\n"},
        {"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
         "CONNECT [::1]:443 HTTP/1.1 [Host: [::1]:443] keep\nend\n"},
        {"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "400\n"},
        {"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400\n"},
        {"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400\n"},
        {"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400\n"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", "400\n"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", "400\n"},
    });
}

TEST(RequestHead, Host) {
    expect_all({
        {"GET / HTTP/1.1\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1 [Host: ] keep\nend\n"},
        {"GET / HTTP/1.1\r\nHOST:a:80\r\n\r\n", "GET / HTTP/1.1 [HOST: a:80] keep\nend\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "400\n"},
        {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400\n"},
        {"GET / HTTP/1.1\r\nHost: \x80\r\n\r\n", "400\n"},
        {"GET http://a/ HTTP/1.1\r\nHost: A\r\n\r\n",
         "GET http://a/ HTTP/1.1 [Host: A] keep\nend\n"},
        {"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", "400\n"},
        {"GET http://a/ HTTP/1.0\r\n\r\n", "GET http://a/ HTTP/1.0  close\nend\n"},
    });
}

TEST(RequestHead, Fields) {
    expect_fields({
        {"X:y\r\n", "[X: y] keep\nend\n"},
        {"X: \t y \t \r\n", "[X: y] keep\nend\n"},
        {"X:\r\nY: \r\n", "[X: ][Y: ] keep\nend\n"},
        {"X: a:b\tc  d\r\n", "[X: a:b\tc  d] keep\nend\n"},
        {"X: \x80\xFF\r\n", "[X: \x80\xFF] keep\nend\n"},
        {"!#$%&'*+-.^_`|~09azAZ: y\r\n", "[!#$%&'*+-.^_`|~09azAZ: y] keep\nend\n"},
        {"X: y\r\nX: y\r\n", "[X: y][X: y] keep\nend\n"},
        {"X : y\r\n", "400"},
        {"X\t: y\r\n", "400"},
        {" X: y\r\n", "400"},
        {"\tX: y\r\n", "400"},
        {"X: y\r\n z\r\n", "400"},  // obs-fold
        {"X: y\r\n\tz\r\n", "400"},
        {": y\r\n", "400"},
        {"X\r\n", "400"},
        {"X y\r\n", "400"},
        {"X(: y\r\n", "400"},
        {"X\x80: y\r\n", "400"},
        {"X: y\n", "400"},
        {"X: y\nZ: z\r\n", "400"},
        {"X: y\rZ: z\r\n", "400"},
        {"X: y\r\r\n", "400"},
        {"\nX: y\r\n", "400"},
        {"\rX: y\r\n", "400"},
        {std::string("X: y\0z\r\n", 8), "400"},
        {std::string("X\0: y\r\n", 7), "400"},
        {"X: y\x01\r\n", "400"},
        {"X: y\x7F\r\n", "400"},
        {"X: y\x0Bz\r\n", "400"},
        {"X: y\x1B[0m\r\n", "400"},
    });
}

TEST(RequestHead, ContentLength) {
    expect_fields({
        {"Content-Length: 0\r\n", "[Content-Length: 0] length=0 keep\nend\n"},
        {"content-LENGTH:00\r\n", "[content-LENGTH: 00] length=0 keep\nend\n"},
        {"Content-Length: 1073741824\r\n", "[Content-Length: 1073741824] length=1073741824 keep\n"},
        {"Content-Length: 1073741825\r\n", "413"},
        {"Content-Length: 18446744073709551615\r\n", "413"},
        {"Content-Length: 18446744073709551616\r\n", "413"},
        {"Content-Length: 18446744073709551621\r\n", "413"},
        {"Content-Length: " + std::string(400, '9') + "\r\n", "413"},
        {"Content-Length: 00000000000000000000\r\n",
         "[Content-Length: 00000000000000000000] length=0 keep\nend\n"},
        {"Content-Length: 000000000000000000000\r\n", "400"},
        {"Content-Length: " + std::string(5000, '0') + "1\r\n", "400"},
        {"Content-Length:\r\n", "400"},
        {"Content-Length: +0\r\n", "400"},
        {"Content-Length: -0\r\n", "400"},
        {"Content-Length: -1\r\n", "400"},
        {"Content-Length: 0 0\r\n", "400"},
        {"Content-Length: 1_0\r\n", "400"},
        {"Content-Length: 0x1\r\n", "400"},
        {"Content-Length: 0.0\r\n", "400"},
        {"Content-Length: 1e1\r\n", "400"},
        {"Content-Length: \"0\"\r\n", "400"},
        {"Content-Length: 0, 0\r\n", "400"},
        {"Content-Length: 0,\r\n", "400"},
        {"Content-Length: 0\r\nContent-Length: 0\r\n", "400"},
        {"Content-Length: 0\r\nContent-Length: 1\r\n", "400"},
        {"Content-Length: \xD9\xA1\r\n", "400"},  // ARABIC-INDIC DIGIT ONE
        {"Content-Length: \xB2\r\n", "400"},      // SUPERSCRIPT TWO, in Latin-1
        {"Content-Length: 0\x0B\r\n", "400"},
        {"Content-Length\r\n", "400"},
        {"Content_Length: 5\r\n", "[Content_Length: 5] keep\nend\n"},  // another field
    });
}

TEST(RequestHead, TransferEncoding) {
    expect_fields({
        {"Transfer-Encoding: chunked\r\n", "[Transfer-Encoding: chunked] chunked keep\n"},
        {"TRANSFER-ENCODING:CHUNKED \t\r\n", "[TRANSFER-ENCODING: CHUNKED] chunked keep\n"},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "400"},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400"},
        {"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "400"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "400"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "400"},
        {"Transfer-Encoding:\r\n", "400"},
        {"Transfer-Encoding: ,\r\n", "400"},
        {"Transfer-Encoding: chunked,\r\n", "400"},
        {"Transfer-Encoding: ,chunked\r\n", "400"},
        {"Transfer-Encoding: chunked, chunked\r\n", "400"},
        {"Transfer-Encoding: chunked, gzip\r\n", "400"},
        {"Transfer-Encoding: chunked;q=1\r\n", "400"},
        {"Transfer-Encoding: \"chunked\"\r\n", "400"},
        {"Transfer-Encoding: chunked chunked\r\n", "400"},
        {"Transfer-Encoding: chunk\xC3\xAB"
         "d\r\n",
         "400"},
        {"Transfer-Encoding: \x0B"
         "chunked\r\n",
         "400"},
        {"Transfer-Encoding: gzip\r\n", "501"},
        {"Transfer-Encoding: identity\r\n", "501"},
        {"Transfer-Encoding: gzip, chunked\r\n", "501"},
        {"Transfer-Encoding: xchunked\r\n", "501"},
        {"Transfer-Encoding: chunkedx\r\n", "501"},
        {"Transfer-Encoding : chunked\r\n", "400"},
        {"X: y\r\n Transfer-Encoding: chunked\r\n", "400"},
    });
    expect_told("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400\n");
}

TEST(RequestHead, Connection) {
    expect_fields({
        {"Connection: close\r\n", "[Connection: close] close\nend\n"},
        {"Connection: CLOSE\r\n", "[Connection: CLOSE] close\nend\n"},
        {"Connection: keep-alive\r\n", "[Connection: keep-alive] keep\nend\n"},
        {"Connection: keep-alive, close\r\n", "[Connection: keep-alive, close] close\nend\n"},
        {"Connection: a\r\nConnection: ,close,\r\n",
         "[Connection: a][Connection: ,close,] close\nend\n"},
        {"Connection: closed\r\n", "[Connection: closed] keep\nend\n"},
        {"Connection:\r\n", "[Connection: ] keep\nend\n"},
        {"Connection: close;a\r\n", "400"},
        {"Connection: clo se\r\n", "400"},
        {"Upgrade: websocket\r\n", "[Upgrade: websocket] keep\nend\n"},
        {"Connection: upgrade\r\n", "[Connection: upgrade] keep\nend\n"},
        {"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
         "[Connection: keep-alive, Upgrade][Upgrade: websocket] keep upgrade=websocket\nend\n"},
        {"Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", "400"},
    });
    expect_told("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
                "GET / HTTP/1.0 [Connection: upgrade][Upgrade: a] close\nend\n");
}

TEST(RequestHead, Expect) {
    expect_fields({
        {"Content-Length: 2\r\nExpect: 100-Continue\r\n",
         "[Content-Length: 2][Expect: 100-Continue] length=2 keep expects\n"},
        {"Expect: 100-continue\r\n", "[Expect: 100-continue] keep\nend\n"},
        {"Expect: 100-continue, x\r\n", "417"},
        {"Expect: x\r\nExpect: 100-continue\r\n", "417"},
        {"Expect:\r\n", "417"},
        {"Expect: 200-ok\r\n", "417"},
    });
    expect_told("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na",
                "POST / HTTP/1.0 [Content-Length: 1][Expect: 100-continue] length=1 close\n"
                "data a\nend\n");
}

}  // namespace
}  // namespace penstock::http1
