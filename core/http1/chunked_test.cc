// Chunked bodies and their trailers, as a table. All go through the parser, split in every way.
#include "http1/chunked.h"

#include <gtest/gtest.h>

#include <string>

#include "http1/testing/splits.h"

namespace penstock::http1 {
namespace {

using testing::expect_told;

const std::string kHead = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const std::string kTold = "POST / HTTP/1.1 [Host: a][Transfer-Encoding: chunked] chunked keep\n";

struct Case {
    std::string sent;
    std::string told;
};

// What follows the head, with what is told behind it.
void expect_all(std::initializer_list<Case> cases, const Limits& limits = {}) {
    for (const Case& each : cases) {
        SCOPED_TRACE(::testing::PrintToString(each.sent));
        expect_told(kHead + each.sent, kTold + each.told, limits);
    }
}

TEST(Chunked, Sizes) {
    expect_all({
        {"0\r\n\r\n", "end\n"},
        {"0000000000000000\r\n\r\n", "end\n"},
        {"1\r\na\r\n0\r\n\r\n", "data a\nend\n"},
        {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "data 01234567890123456789\nend\n"},
        {"000000000000000a\r\n0123456789\r\n0\r\n\r\n", "data 0123456789\nend\n"},
        {"2\r\n\r\n\r\n0\r\n\r\n", "data \r\n\nend\n"},
        {"00000000000000000\r\n\r\n", "400\n"},
        {"40000001\r\n", "413\n"},
        {"ffffffffffffffff\r\n", "413\n"},
        {"1\r\na\r\nffffffffffffffff\r\n", "data a\n413\n"},
        {"10000000000000000\r\n", "400\n"},
        {"\r\n", "400\n"},
        {"g\r\n", "400\n"},
        {"-1\r\n", "400\n"},
        {"+1\r\n", "400\n"},
        {"0x1\r\n", "400\n"},
        {"1_0\r\n", "400\n"},
        {" 1\r\n", "400\n"},
        {"1 \r\n", "400\n"},
        {"1\t\r\n", "400\n"},
        {"1 ;a\r\n", "400\n"},
        {"\xD9\xA1\r\n", "400\n"},
        {std::string("1\0\r\n", 4), "400\n"},
    });
}

TEST(Chunked, LineEnds) {
    expect_all({
        {"1\na\r\n0\r\n\r\n", "400\n"},
        {"1\ra\r\n", "400\n"},
        {"1\r\r\na\r\n", "400\n"},
        {"1\r\na\n0\r\n\r\n", "data a\n400\n"},
        {"1\r\na0\r\n\r\n", "data a\n400\n"},
        {"1\r\nab\r\n0\r\n\r\n", "data a\n400\n"},
        {"1\r\na\rb0\r\n\r\n", "data a\n400\n"},
        {"1\r\na\r\r\n0\r\n\r\n", "data a\n400\n"},
        {"2\r\na\r\n0\r\n\r\n", "data a\r\n400\n"},
        {"1\r\na\r\n\r\n0\r\n\r\n", "data a\n400\n"},
        {"0\n\n", "400\n"},
        {"0\r\n\n", "400\n"},
        {"0\r\n\rx", "400\n"},
    });
}

TEST(Chunked, Extensions) {
    expect_all({
        {"1;a\r\nx\r\n0;b=c;d\r\n\r\n", "data x\nend\n"},
        {"1;a=b\r\nx\r\n0\r\n\r\n", "data x\nend\n"},
        {"1;a=\"b \t;\\\"\\\\\x80\"\r\nx\r\n0\r\n\r\n", "data x\nend\n"},
        {"1;a=\"\";b\r\nx\r\n0\r\n\r\n", "data x\nend\n"},
        {"1;\r\n", "400\n"},
        {"1;;a\r\n", "400\n"},
        {"1;=b\r\n", "400\n"},
        {"1;a=\r\n", "400\n"},
        {"1;a=;b\r\n", "400\n"},
        {"1;a=b=c\r\n", "400\n"},
        {"1; a\r\n", "400\n"},
        {"1;a =b\r\n", "400\n"},
        {"1;a= b\r\n", "400\n"},
        {"1;a b\r\n", "400\n"},
        {"1;a=\"b\r\n", "400\n"},
        {"1;a=\"b\nc\"\r\n", "400\n"},
        {"1;a=\"b\\\r\n\"\r\n", "400\n"},
        {"1;a=\"b\"c\r\n", "400\n"},
        {"1;a=b\"c\"\r\n", "400\n"},
        {"1;a\n\r\n", "400\n"},
        {"1;a\nx\r\n0\r\n\r\n", "400\n"},
        {"1;a\rx\r\n", "400\n"},
        {"1;a\x7F\r\n", "400\n"},
        {"1;\xC3\xA9\r\n", "400\n"},
        {std::string("1;a=\"\0\"\r\n", 9), "400\n"},
    });
}

TEST(Chunked, Trailers) {
    expect_all({
        {"0\r\nX: y\r\n\r\n", "trailers [X: y]\nend\n"},
        {"1\r\na\r\n0\r\nX:y\r\nx: z \r\n\r\n", "data a\ntrailers [X: y][x: z]\nend\n"},
        {"0\r\nTrailing: Host\r\nHosts: a\r\n\r\n", "trailers [Trailing: Host][Hosts: a]\nend\n"},
        {"0\r\nX : y\r\n\r\n", "400\n"},
        {"0\r\nX: y\n\r\n", "400\n"},
        {"0\r\nX: y\r\n z\r\n\r\n", "400\n"},
        {"0\r\n X: y\r\n\r\n", "400\n"},
        {"0\r\nX: y\x01\r\n\r\n", "400\n"},
        {"0\r\nX\r\n\r\n", "400\n"},
        {"0\r\nGET / HTTP/1.1\r\n\r\n", "400\n"},
    });
    for (const char* name :
         {"Content-Length", "TRANSFER-ENCODING", "host", "Trailer", "Connection", "Upgrade"})
        expect_told(kHead + "0\r\nX: y\r\n" + name + ": 1\r\n\r\n", kTold + "400\n");
    for (const char* name : {"Authorization",
                             "Proxy-Authorization",
                             "Cookie",
                             "Set-Cookie",
                             "Content-Type",
                             "Content-Encoding",
                             "Content-Range",
                             "Cache-Control",
                             "Expect",
                             "Max-Forwards",
                             "Pragma",
                             "Range",
                             "TE",
                             "If-Match",
                             "If-None-Match",
                             "If-Modified-Since",
                             "If-Unmodified-Since",
                             "If-Range",
                             "X-Forwarded-For",
                             "forwarded"}) {
        expect_told(kHead + "0\r\n" + name + ": 1\r\n\r\n", kTold + "end\n");
        expect_told(kHead + "0\r\n" + name + ": 1\r\nX: y\r\n\r\n",
                    kTold + "trailers [X: y]\nend\n");
    }
}

TEST(Chunked, WhatFollows) {
    expect_told(kHead + "1\r\na\r\n0\r\n\r\n" + kHead + "0\r\nX: y\r\n\r\n" + kHead + "0\r\n\r\n",
                kTold + "data a\nend\n" + kTold + "trailers [X: y]\nend\n" + kTold + "end\n");
}

TEST(Chunked, BodyLimit) {
    Limits limits{.body_bytes = 5};
    expect_all(
        {
            {"5\r\nabcde\r\n0\r\n\r\n", "data abcde\nend\n"},
            {"6\r\n", "413\n"},
            {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "data abcde\nend\n"},
            {"3\r\nabc\r\n3\r\n", "data abc\n413\n"},
            {"5\r\nabcde\r\nffffffffffffffff\r\n", "data abcde\n413\n"},
        },
        limits);
}

TEST(Chunked, ExtensionLimit) {
    Limits limits{.chunk_extension_bytes = 4};
    expect_all(
        {
            {"1;a=b\r\nx\r\n1;c=d\r\ny\r\n0\r\n\r\n", "data xy\nend\n"},
            {"1;a=bc\r\n", "400\n"},
            {"1;a;b;c\r\n", "400\n"},
            {"0;aaaa", "400\n"},
        },
        limits);
    expect_all({{"1;a\r\n", "400\n"}}, {.chunk_extension_bytes = 1});
}

TEST(Chunked, TrailerLimits) {
    // "X: y\r\n" has 6 bytes.
    expect_all({{"0\r\nX: y\r\n\r\n", "trailers [X: y]\nend\n"}}, {.trailer_bytes = 6});
    expect_all({{"0\r\nX: y\r\n\r\n", "431\n"}}, {.trailer_bytes = 5});
    expect_all({{"0\r\n\r\n", "end\n"}}, {.trailer_bytes = 0});
    expect_all({{"0\r\nA: b\r\nC: d\r\n\r\n", "trailers [A: b][C: d]\nend\n"},
                {"0\r\nA: b\r\nC: d\r\nE: f\r\n\r\n", "431\n"}},
               {.fields = 2});
}

TEST(Chunked, TinyChunks) {
    std::string tiny = "1\r\na\r\n", end = "0\r\n\r\n";
    std::string chunks;
    for (int i = 0; i < 1024; ++i) chunks += tiny;
    // 1024 are free, and 64 more for as many bytes.
    std::string told = "data " + std::string(1024, 'a');
    EXPECT_EQ(testing::whole(kHead + chunks + end).text(), kTold + told + "\nend\n");
    std::string more;
    for (int i = 0; i < 68; ++i) more += tiny;
    EXPECT_EQ(testing::whole(kHead + chunks + more + end).text(),
              kTold + told + std::string(68, 'a') + "\nend\n");
    EXPECT_EQ(testing::whole(kHead + chunks + more + tiny + end).text(),
              kTold + told + std::string(68, 'a') + "\n400\n");

    Limits limits{.free_chunks = 1, .bytes_a_chunk = 2};
    expect_all(
        {
            {"1\r\na\r\n0\r\n\r\n", "data a\nend\n"},
            {"1\r\na\r\n1\r\n", "data a\n400\n"},
            {"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "data abc\nend\n"},
            {"2\r\nab\r\n1\r\nc\r\n1\r\n", "data abc\n400\n"},
            {"2\r\nab\r\n2\r\ncd\r\n2\r\nef\r\n0\r\n\r\n", "data abcdef\nend\n"},
        },
        limits);
    expect_all({{"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "data ab\nend\n"}},
               {.free_chunks = 1, .bytes_a_chunk = 0});
}

}  // namespace
}  // namespace penstock::http1
