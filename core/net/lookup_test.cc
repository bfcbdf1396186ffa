#include "net/lookup.h"

#include <gtest/gtest.h>
#include <netdb.h>

namespace penstock {
namespace {

TEST(Lookup, LiteralsNeedNoNameService) {
    auto answer = look_up_literal({.host = "127.0.0.1", .service = "80", .type = SOCK_STREAM});
    ASSERT_TRUE(answer);
    ASSERT_FALSE(answer->error);
    ASSERT_EQ(answer->addresses.size(), 1u);
    const ResolvedAddress& found = answer->addresses[0];
    EXPECT_EQ(found.family, AF_INET);
    EXPECT_EQ(found.type, SOCK_STREAM);
    EXPECT_EQ(found.protocol, IPPROTO_TCP);
    EXPECT_EQ(found.address, *Address::parse("127.0.0.1", 80));
    EXPECT_EQ(found.canonical_name, "");
    auto ip6 = look_up_literal({.host = "::1", .service = "1", .type = SOCK_STREAM});
    ASSERT_TRUE(ip6);
    EXPECT_EQ(ip6->addresses.at(0).address, *Address::parse("::1", 1));
}

TEST(Lookup, NoHostMeansTheWildcardOrLoopback) {
    auto passive = look_up_literal(
        {.service = "80", .family = AF_INET, .type = SOCK_STREAM, .flags = AI_PASSIVE});
    ASSERT_TRUE(passive);
    EXPECT_EQ(passive->addresses.at(0).address.host(), "0.0.0.0");
    auto local = look_up_literal({.service = "80", .family = AF_INET, .type = SOCK_STREAM});
    EXPECT_EQ(local->addresses.at(0).address.host(), "127.0.0.1");
}

TEST(Lookup, NamesAreLeftToTheThreads) {
    EXPECT_FALSE(look_up_literal({.host = "localhost", .service = "80"}));
    EXPECT_FALSE(look_up_literal({.host = "127.0.0.1", .service = "http"}));
    EXPECT_FALSE(look_up_literal({.host = "name.invalid"}));
}

TEST(Lookup, ANameThatTheCallerRulesOutIsAnError) {
    auto answer = look_up_literal({.host = "localhost", .service = "80", .flags = AI_NUMERICHOST});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error.code, EAI_NONAME);
    EXPECT_STREQ(answer->error.text(), "Name or service not known");
}

TEST(Lookup, TheLiteralAnswerIsTheFullAnswer) {
    for (const char* host : {"127.0.0.1", "::1", "10.1", "0x7f000001"}) {
        AddressQuery query{.host = host, .service = "443"};
        auto quick = look_up_literal(query);
        auto full = look_up(query);
        ASSERT_TRUE(quick) << host;
        ASSERT_EQ(quick->error.code, full.error.code) << host;
        ASSERT_EQ(quick->addresses.size(), full.addresses.size()) << host;
        for (std::size_t i = 0; i < full.addresses.size(); ++i) {
            EXPECT_EQ(quick->addresses[i].address, full.addresses[i].address);
            EXPECT_EQ(quick->addresses[i].type, full.addresses[i].type);
            EXPECT_EQ(quick->addresses[i].protocol, full.addresses[i].protocol);
        }
    }
}

TEST(Lookup, HostsFileIsRead) {
    AddressAnswer answer =
        look_up(AddressQuery{.host = "localhost", .service = "80", .type = SOCK_STREAM});
    ASSERT_FALSE(answer.error) << answer.error.text();
    EXPECT_FALSE(answer.addresses.empty());
}

TEST(Lookup, NamesOfAddresses) {
    NameQuery digits{*Address::parse("127.0.0.1", 80), NI_NUMERICHOST | NI_NUMERICSERV};
    auto answer = look_up_numeric(digits);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->host, "127.0.0.1");
    EXPECT_EQ(answer->service, "80");
    EXPECT_FALSE(look_up_numeric({*Address::parse("127.0.0.1", 80), 0}));
    NameAnswer bad = look_up(NameQuery{Address(), NI_NUMERICHOST});
    EXPECT_EQ(bad.error.code, EAI_FAMILY);
}

}  // namespace
}  // namespace penstock
