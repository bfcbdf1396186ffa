#include "http1/request_parser.h"

#include <gtest/gtest.h>

#include <new>
#include <string>

#include "base/testing/no_memory.h"
#include "http1/testing/splits.h"

namespace penstock::http1 {
namespace {

using testing::expect_told;
using testing::whole;

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const std::string kChunked =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhello\r\n1;a=\"b\"\r\n!\r\n0\r\nX: y\r\nZ: z\r\n\r\n";

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

std::string events(RequestParser& parser, std::size_t most = 100) {
    std::string all;
    for (std::size_t i = 0; i < most; ++i) {
        Event event = parser.next();
        if (event == Event::kNeedMore) break;
        all += "-HDTER"[static_cast<int>(event)];
    }
    return all;
}

bool lies_in(std::string_view part, std::string_view all) {
    return part.data() >= all.data() && part.data() + part.size() <= all.data() + all.size();
}

TEST(RequestParser, Pipelines) {
    expect_told(
        kGet + kPost + "\r\n" + kChunked + kGet,
        whole(kGet).text() + whole(kPost).text() + whole(kChunked).text() + whole(kGet).text());
}

TEST(RequestParser, SaysNothingMoreOnceItHasRefused) {
    RequestParser parser{{}};
    std::string bad = "GET / HTTP/1.1\r\n\r\n" + kGet;
    parser.feed(bytes_of(bad));
    EXPECT_EQ(events(parser, 3), "RRR");
    parser.feed(bytes_of(kGet));
    parser.hold();
    EXPECT_EQ(events(parser, 2), "RR");
    EXPECT_EQ(parser.refusal().status, 400);
    EXPECT_EQ(parser.unused(), "");
}

TEST(RequestParser, ReadsInPlace) {
    RequestParser parser{{}};
    std::string all = kPost + kChunked;
    parser.feed(bytes_of(all));
    std::size_t seen = 0;
    for (Event event; (event = parser.next()) != Event::kNeedMore;) {
        if (event == Event::kHead) {
            EXPECT_TRUE(lies_in(parser.request().method, all));
            EXPECT_TRUE(lies_in(parser.request().target, all));
            for (const Field& field : parser.request().fields)
                EXPECT_TRUE(lies_in(field.name, all) && lies_in(field.value, all));
        }
        if (event == Event::kData) {
            EXPECT_TRUE(lies_in(parser.data(), all));
            EXPECT_FALSE(parser.data().empty());
            seen += parser.data().size();
        }
        if (event == Event::kTrailers) {
            for (const Field& field : parser.trailers()) EXPECT_TRUE(lies_in(field.value, all));
        }
    }
    EXPECT_EQ(seen, 11u);
}

TEST(RequestParser, AllocatesNothingOnceItHasRoomForFields) {
    RequestParser parser{{}};
    std::string all = kGet + kPost + kChunked;
    parser.feed(bytes_of(all));
    std::string first = events(parser);
    testing::Transcript unused;
    penstock::testing::NoMemory no_memory;
    parser.feed(bytes_of(all));
    std::size_t heads = 0;
    for (Event event; (event = parser.next()) != Event::kNeedMore;) heads += event == Event::kHead;
    EXPECT_EQ(heads, 3u);
    EXPECT_EQ(no_memory.refused(), 0u);
}

TEST(RequestParser, GoesOnWhereMemoryWasShort) {
    std::string all = kPost + kChunked + kGet;
    for (std::size_t length : {std::size_t{7}, std::size_t{40}, all.size()}) {
        RequestParser parser{{}};
        std::string told;
        std::size_t shortages = 0;
        auto insist = [&](auto attempt) {
            for (std::size_t allowed = 0;; ++allowed) {
                try {
                    penstock::testing::NoMemory no_memory(allowed);
                    return attempt();
                } catch (const std::bad_alloc&) {
                    ++shortages;
                }
            }
        };
        for (std::size_t at = 0; at < all.size(); at += length) {
            auto piece = std::make_unique<std::string>(all.substr(at, length));
            insist([&] { parser.feed(bytes_of(*piece)); });
            for (Event event;
                 (event = insist([&] { return parser.next(); })) != Event::kNeedMore;) {
                char letter = "-HDTER"[static_cast<int>(event)];
                if (letter != 'D' || !told.ends_with('D') || length == all.size()) told += letter;
            }
        }
        EXPECT_EQ(told, length == all.size() ? "HDEHDDTEHE" : "HDEHDTEHE") << length;
        EXPECT_GE(shortages, 1u);
    }
}

TEST(RequestParser, HoldsWhatIsNotUsed) {
    RequestParser parser{{}};
    {
        std::string lent = kPost + kGet;
        parser.feed(bytes_of(lent));
        EXPECT_EQ(events(parser, 3), "HDE");
        EXPECT_EQ(parser.unused(), kGet);
        parser.hold();
        lent.assign(lent.size(), 'x');
    }
    EXPECT_EQ(parser.unused(), kGet);
    parser.feed(bytes_of(kPost));
    EXPECT_EQ(parser.unused(), kGet + kPost);
    EXPECT_EQ(events(parser), "HEHDE");
    EXPECT_EQ(parser.unused(), "");
    parser.hold();
    EXPECT_EQ(events(parser), "");
}

TEST(RequestParser, HoldsNothingBack) {
    std::string upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    RequestParser parser{{}};
    std::string all = upgrade + std::string("\x81\x05\0hello", 8);
    parser.feed(bytes_of(all));
    EXPECT_EQ(events(parser, 2), "HE");
    EXPECT_EQ(parser.unused(), std::string_view(all).substr(upgrade.size()));
}

TEST(RequestParser, KnowsWhetherItIsAmidARequest) {
    for (const std::string& request : {kGet, kPost, kChunked}) {
        RequestParser parser{{}};
        for (std::size_t i = 0; i < request.size(); ++i) {
            EXPECT_EQ(parser.is_amid_request(), i != 0) << i;
            parser.feed(bytes_of(request).subspan(i, 1));
            std::string told = events(parser);
            EXPECT_EQ(told.ends_with('E'), i == request.size() - 1);
        }
        EXPECT_FALSE(parser.is_amid_request());
        parser.feed(bytes_of("\r\n"));
        EXPECT_EQ(events(parser), "");
        EXPECT_FALSE(parser.is_amid_request());
        parser.feed(bytes_of(kGet));
        EXPECT_TRUE(parser.is_amid_request());
        EXPECT_EQ(events(parser, 1), "H");
        EXPECT_TRUE(parser.is_amid_request());
    }
}

// ---- limits: at each, and one above -------------------------------------------------------------

TEST(RequestParser, TargetLimit) {
    auto get = [](std::size_t size) {
        return "GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
    };
    Limits limits{.target_bytes = 40};
    EXPECT_TRUE(whole(get(40), limits).text().ends_with("end\n"));
    expect_told(get(41), "414\n", limits);
    // As soon as it is too long, and whatever would follow.
    expect_told("GET /" + std::string(40, 'a'), "414\n", limits);
    expect_told("GET /" + std::string(40, 'a') + "\x01", "414\n", limits);
    expect_told("GET /" + std::string(39, 'a') + "\x01", "400\n", limits);
    EXPECT_TRUE(whole(get(std::size_t{16} * 1024)).text().ends_with("end\n"));
    EXPECT_EQ(whole(get(std::size_t{16} * 1024 + 1)).text(), "414\n");
    EXPECT_TRUE(whole(get(1000), {.target_bytes = ~std::size_t{0}}).text().ends_with("end\n"));
}

TEST(RequestParser, HeadLimit) {
    auto get = [](std::size_t size) {
        std::string head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        return head + std::string(size - head.size() - 4, 'a') + "\r\n\r\n";
    };
    Limits limits{.head_bytes = 60};
    EXPECT_TRUE(whole(get(60), limits).text().ends_with("end\n"));
    expect_told(get(60) + get(60), whole(get(60)).text() + whole(get(60)).text(), limits);
    for (std::size_t size : {61, 62, 63, 64, 65, 100}) expect_told(get(size), "431\n", limits);
    expect_told(get(100).substr(0, 60), "431\n", limits);
    expect_told(get(100).substr(0, 59), "", limits);
    EXPECT_TRUE(whole(get(std::size_t{64} * 1024)).text().ends_with("end\n"));
    EXPECT_EQ(whole(get(std::size_t{64} * 1024 + 1)).text(), "431\n");
}

TEST(RequestParser, FieldsLimit) {
    auto get = [](int fields) {
        std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (int i = 1; i < fields; ++i) head += "X:\r\n";
        return head + "\r\n";
    };
    Limits limits{.fields = 3};
    EXPECT_TRUE(whole(get(3), limits).text().ends_with("end\n"));
    expect_told(get(4), "431\n", limits);
    EXPECT_TRUE(whole(get(128)).text().ends_with("end\n"));
    EXPECT_EQ(whole(get(129)).text(), "431\n");
}

TEST(RequestParser, BodyLimit) {
    auto head = [](std::string_view length) {
        return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::string(length) + "\r\n\r\n";
    };
    Limits limits{.body_bytes = 5};
    expect_told(head("5") + "hello",
                "POST / HTTP/1.1 [Host: a][Content-Length: 5] length=5 keep\ndata hello\nend\n",
                limits);
    expect_told(head("6"), "413\n", limits);
    expect_told(head("0"), "POST / HTTP/1.1 [Host: a][Content-Length: 0] length=0 keep\nend\n",
                {.body_bytes = 0});
    expect_told(head("1"), "413\n", {.body_bytes = 0});
}

}  // namespace
}  // namespace penstock::http1
