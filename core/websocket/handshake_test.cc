#include "websocket/handshake.h"

#include <gtest/gtest.h>

#include <utility>

namespace penstock::websocket {
namespace {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

Handshake taken(const Fields& fields) {
    Handshake made;
    for (auto [name, value] : fields) made.take(name, value);
    return made;
}

constexpr std::pair<std::string_view, std::string_view> kKey = {"Sec-WebSocket-Key",
                                                                "dGhlIHNhbXBsZSBub25jZQ=="};
constexpr std::pair<std::string_view, std::string_view> kVersion = {"Sec-WebSocket-Version", "13"};

// RFC 6455, 1.3.
TEST(Handshake, TheRfcsExample) {
    EXPECT_EQ(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, WhatIsTakenIn) {
    Handshake made = taken({{"host", "a"},
                            kKey,
                            kVersion,
                            {"sec-websocket-protocol", "chat, superchat ,"},
                            {"SEC-WEBSOCKET-PROTOCOL", "third"},
                            {"Sec-WebSocket-Extensions", "foo"},
                            {"Sec-WebSocket-Extensions", "permessage-deflate"}});
    EXPECT_EQ(made.verdict().status, 0);
    EXPECT_EQ(made.key(), kKey.second);
    EXPECT_EQ(made.subprotocols(), (std::vector<std::string_view>{"chat", "superchat", "third"}));
    EXPECT_TRUE(made.deflate());
}

TEST(Handshake, Refusals) {
    EXPECT_EQ(taken({kKey}).verdict().status, 426);
    EXPECT_EQ(taken({kKey, {"Sec-WebSocket-Version", "8"}}).verdict().status, 426);
    EXPECT_EQ(taken({kKey, kVersion, kVersion}).verdict().status, 426);
    EXPECT_EQ(taken({kVersion}).verdict().status, 400);
    EXPECT_EQ(taken({kKey, kKey, kVersion}).verdict().status, 400);
    EXPECT_EQ(taken({{"Sec-WebSocket-Key", "short"}, kVersion}).verdict().status, 400);
    for (std::string_view bad : {"caf\xc3\xa9", "a b", "a, a", "\"a\"", "\xff"})
        EXPECT_EQ(taken({kKey, kVersion, {"Sec-WebSocket-Protocol", bad}}).verdict().status, 400);
}

// Each is compared with those before it.
TEST(Handshake, SubprotocolsWithoutEndAreRefused) {
    auto with = [](int count) {
        std::string list;
        for (int i = 0; i < count; ++i) list += "p" + std::to_string(i) + ",";
        return taken({kKey, kVersion, {"Sec-WebSocket-Protocol", list}}).verdict().status;
    };
    EXPECT_EQ(with(64), 0);
    EXPECT_EQ(with(65), 400);
}

}  // namespace
}  // namespace penstock::websocket
