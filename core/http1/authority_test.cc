#include "http1/authority.h"

#include <gtest/gtest.h>

namespace penstock::http1 {
namespace {

TEST(Authority, IsHostAndMaybePort) {
    for (const char* text : {"", "a", "a.example", "A-B_c.example", "localhost:8080", "127.0.0.1",
                             "127.0.0.1:80", "a:", "[::1]", "[::1]:443", "[::ffff:127.0.0.1]",
                             "[v1.a:b]", "a%20b", "xn--bcher-kva.example", "a!$&'()*+,;=~"})
        EXPECT_TRUE(is_authority(text)) << text;
}

TEST(Authority, IsNothingElse) {
    for (const char* text :
         {"a b",    "a/b",  "a?b",      "a#b",    "a@b",     "user:pass@a",  "a:b",
          "a:-1",   "a:+1", "a:123456", ":80",    ":",       "a:80:80",      "[::1",
          "::1",    "[]",   "[g::1]",   "[::1]x", "[::1]80", "[::1%25eth0]", "a]",
          "a[::1]", "%",    "%2",       "%zz",    "a\tb",    "a\x80",        "\"a\"",
          "a\\b",   "<a>",  "http://a"})
        EXPECT_FALSE(is_authority(text)) << text;
}

TEST(Authority, MayNeedAPort) {
    EXPECT_TRUE(is_authority("a:1", Port::kRequired));
    for (const char* text : {"a", "a:", "", ":1", "[::1]"})
        EXPECT_FALSE(is_authority(text, Port::kRequired)) << text;
}

TEST(Authority, IsTheSameInAnyCase) {
    EXPECT_TRUE(same_authority("A.Example:80", "a.exAmple:80"));
    EXPECT_FALSE(same_authority("a", "a:80"));
    EXPECT_FALSE(same_authority("a^", "a~"));  // they differ in the bit that cases differ in
}

}  // namespace
}  // namespace penstock::http1
