#include "websocket/deflate_offer.h"

#include <gtest/gtest.h>

namespace penstock::websocket {
namespace {

int bits(std::string_view offers) {
    std::optional<DeflateTerms> terms = agree_on_deflate(offers);
    return terms ? terms->server_window_bits : 0;
}

TEST(DeflateOffer, WhatClientsSend) {
    EXPECT_EQ(bits("permessage-deflate"), 15);
    EXPECT_EQ(bits("permessage-deflate; client_max_window_bits"), 15);
    EXPECT_EQ(bits("Permessage-Deflate;Server_No_Context_Takeover"), 15);
    EXPECT_EQ(bits("permessage-deflate; server_max_window_bits=10"), 10);
    EXPECT_EQ(bits("permessage-deflate; server_max_window_bits=\"12\""), 12);
    EXPECT_EQ(bits("x-webkit-deflate-frame, permessage-deflate"), 15);
    EXPECT_EQ(bits("permessage-deflate; client_max_window_bits=8"), 15);
}

TEST(DeflateOffer, TheFirstThatCanBeMet) {
    EXPECT_EQ(bits("permessage-deflate; server_max_window_bits=8, permessage-deflate"), 15);
    EXPECT_EQ(bits("permessage-deflate; no_such=1, permessage-deflate; server_max_window_bits=9"),
              9);
    EXPECT_EQ(
        bits("foo; a=\"permessage-deflate, x\", permessage-deflate;server_max_window_bits=11"), 11);
}

TEST(DeflateOffer, NoneThatCanBeMet) {
    for (std::string_view offers :
         {"", "foo", "permessage-deflate; server_max_window_bits",
          "permessage-deflate; server_max_window_bits=16",
          "permessage-deflate; server_max_window_bits=08",
          "permessage-deflate; server_max_window_bits=010",
          "permessage-deflate; client_max_window_bits=7",
          "permessage-deflate; client_max_window_bits=",
          "permessage-deflate; server_no_context_takeover=1",
          "permessage-deflate; client_max_window_bits; client_max_window_bits",
          "permessage-deflate; server_max_window_bits=9; server_max_window_bits=10",
          "foo; a=\"permessage-deflate"})
        EXPECT_EQ(bits(offers), 0) << offers;
}

TEST(DeflateOffer, TheResponse) {
    EXPECT_EQ(deflate_response({}),
              "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    EXPECT_EQ(deflate_response({10, true}),
              "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
              "server_max_window_bits=10");
}

}  // namespace
}  // namespace penstock::websocket
