#include "net/address.h"

#include <gtest/gtest.h>
#include <net/if.h>

#include <cstddef>
#include <cstring>

#include "net/socket.h"

namespace penstock {
namespace {

TEST(Address, ParsesAndFormatsLiterals) {
    auto ip4 = Address::parse("192.0.2.7", 80);
    ASSERT_TRUE(ip4);
    EXPECT_EQ(ip4->family(), AF_INET);
    EXPECT_EQ(ip4->host(), "192.0.2.7");
    EXPECT_EQ(ip4->port(), 80);
    EXPECT_EQ(ip4->to_string(), "192.0.2.7:80");
    auto ip6 = Address::parse("2001:db8::1", "65535");
    ASSERT_TRUE(ip6);
    EXPECT_EQ(ip6->family(), AF_INET6);
    EXPECT_EQ(ip6->host(), "2001:db8::1");
    EXPECT_EQ(ip6->to_string(), "[2001:db8::1]:65535");
    EXPECT_EQ(ip6->scope_id(), 0u);
    EXPECT_EQ(ip6->flow_info(), 0u);
}

TEST(Address, KnowsScopes) {
    auto named = Address::parse("fe80::1%lo", 1);
    ASSERT_TRUE(named);
    EXPECT_EQ(named->scope_id(), ::if_nametoindex("lo"));
    EXPECT_EQ(named->host(), "fe80::1%lo");
    auto numbered = Address::parse("fe80::1%4000", 1);
    ASSERT_TRUE(numbered);
    EXPECT_EQ(numbered->host(), "fe80::1%4000");
    EXPECT_FALSE(Address::parse("fe80::1%nosuch", 1));
    EXPECT_FALSE(Address::parse("fe80::1%", 1));
    EXPECT_FALSE(Address::parse("fe80::1%0", 1));
}

TEST(Address, RefusesWhatIsNoLiteral) {
    for (std::string_view host : {"", "localhost", "127.1", "1.2.3", "1.2.3.4.5", "256.0.0.1",
                                  "1.2.3.4 ", "::g", ":", "1:2", "[::1]", "0x7f.0.0.1", "١.2.3.4"})
        EXPECT_FALSE(Address::parse(host, 1)) << host;
    EXPECT_FALSE(Address::parse(std::string_view("127.0.0.1\0.example", 18), 1));
    EXPECT_FALSE(Address::parse(std::string(500, '1'), 1));
}

TEST(Address, RefusesWhatIsNoPort) {
    for (std::string_view port : {"", "-1", "+1", "65536", "80 ", " 80", "http", "1_000", "٣"})
        EXPECT_FALSE(Address::parse("127.0.0.1", port)) << port;
    EXPECT_TRUE(Address::parse("127.0.0.1", "0"));
}

TEST(Address, ComparesByValue) {
    EXPECT_EQ(*Address::parse("::1", 5), *Address::parse("0:0:0:0:0:0:0:1", 5));
    EXPECT_FALSE(*Address::parse("::1", 5) == *Address::parse("::1", 6));
    EXPECT_FALSE(Address() == *Address::parse("0.0.0.0", 0));
}

TEST(Address, UnixPathsAndNamelessSockets) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    std::strcpy(local.sun_path, "/tmp/x");
    auto* any = reinterpret_cast<const sockaddr*>(&local);
    EXPECT_EQ(Address(any, sizeof local).host(), "/tmp/x");
    EXPECT_EQ(Address(any, offsetof(sockaddr_un, sun_path)).host(), "");
    local.sun_path[0] = '\0';
    EXPECT_EQ(Address(any, offsetof(sockaddr_un, sun_path) + 3).host(), std::string("\0tm", 3));
    EXPECT_EQ(Address().family(), AF_UNSPEC);
    EXPECT_EQ(Address().to_string(), "");
    EXPECT_EQ(Address().port(), 0);
}

TEST(Address, OfASocketsEnds) {
    UniqueFd fd;
    ASSERT_EQ(socket::open(AF_INET, SOCK_STREAM, 0, fd), 0);
    ASSERT_EQ(socket::bind(fd.get(), *Address::parse("127.0.0.1", 0)), 0);
    Address local = Address::local_of(fd.get());
    EXPECT_EQ(local.host(), "127.0.0.1");
    EXPECT_NE(local.port(), 0);
    EXPECT_EQ(Address::peer_of(fd.get()).family(), AF_UNSPEC);
}

}  // namespace
}  // namespace penstock
