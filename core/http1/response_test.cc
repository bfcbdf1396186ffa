#include "http1/response.h"

#include <gtest/gtest.h>

namespace penstock::http1 {
namespace {

TEST(Response, FieldNames) {
    EXPECT_TRUE(is_field_name("content-type"));
    for (const char* name : {"", "a b", "a:", ":a", "a\r\n", "a\n", "\xC3\xA9", "a\t"})
        EXPECT_FALSE(is_field_name(name)) << name;
    EXPECT_FALSE(is_field_name({"a\0", 2}));
}

TEST(Response, FieldValues) {
    for (const char* value : {"", "a", "a b\tc", "\xC3\xA9", "a:b,c"})
        EXPECT_TRUE(is_field_value(value)) << value;
    for (const char* value : {"a\r\nb: c", "a\nb", "a\rb", "\r\n", "a\x7F", "\x1B[0m"})
        EXPECT_FALSE(is_field_value(value)) << value;
    EXPECT_FALSE(is_field_value({"a\0b", 3}));
}

TEST(Response, Parts) {
    std::string out;
    append_status_line(out, 200);
    append_status_line(out, 404);
    append_status_line(out, 299);
    append_field(out, "a", "b");
    append_number(out, 0);
    append_number(out, 18446744073709551615U);
    append_chunk_head(out, 0xABC);
    EXPECT_EQ(out,
              "HTTP/1.1 200 OK\r\n"
              "HTTP/1.1 404 Not Found\r\n"
              "HTTP/1.1 299 \r\n"
              "a: b\r\n"
              "018446744073709551615abc\r\n");
}

TEST(Response, Phrases) {
    EXPECT_EQ(reason_phrase(101), "Switching Protocols");
    EXPECT_EQ(reason_phrase(431), "Request Header Fields Too Large");
    for (int status : {0, -1, 99, 306, 418, 600, 1000}) EXPECT_EQ(reason_phrase(status), "");
}

TEST(Response, DateLine) {
    DateLine line;
    EXPECT_EQ(line.at(0), "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    EXPECT_EQ(line.at(784111777), "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");  // RFC 9110, 5.6.7
    EXPECT_EQ(line.at(784111777), "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    EXPECT_EQ(line.at(951782399), "Date: Mon, 28 Feb 2000 23:59:59 GMT\r\n");
    EXPECT_EQ(line.at(951782400), "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n");
    EXPECT_EQ(line.at(4102444799), "Date: Thu, 31 Dec 2099 23:59:59 GMT\r\n");
}

}  // namespace
}  // namespace penstock::http1
