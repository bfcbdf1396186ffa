// A client's frames, and what a reader tells of them, as text: fed whole, byte by byte, cut in two
// at each place and at random, which must all tell the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "websocket/message_reader.h"

namespace penstock::websocket::testing {

constexpr MaskKey kKey = {0x37, 0xfa, 0x21, 0x3d};

struct Shape {
    bool is_final = true;
    std::uint8_t reserved = 0;  // RSV1 to RSV3 as 0x40, 0x20 and 0x10
    bool is_masked = true;
    int length_bytes = -1;  // 0, 2 or 8; -1: as few as can be
};

inline std::string head(std::uint8_t opcode, std::uint64_t length, Shape shape = {}) {
    std::string out;
    out += static_cast<char>((shape.is_final ? 0x80 : 0) | shape.reserved | opcode);
    int bytes = shape.length_bytes;
    if (bytes < 0) bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
    std::uint64_t start = bytes == 0 ? length : bytes == 2 ? 126 : 127;
    out += static_cast<char>((shape.is_masked ? 0x80U : 0U) | start);
    for (int i = bytes; i-- > 0;) out += static_cast<char>(length >> (8 * i) & 0xFFU);
    if (shape.is_masked) out.append(kKey.begin(), kKey.end());
    return out;
}

inline std::string frame(std::uint8_t opcode, std::string_view payload, Shape shape = {}) {
    std::string out = head(opcode, payload.size(), shape);
    std::string masked(payload);
    if (shape.is_masked) unmask(masked.data(), masked.data(), masked.size(), kKey, 0);
    return out + masked;
}

inline std::string fragment(std::uint8_t opcode, std::string_view payload,
                            std::uint8_t reserved = 0) {
    return frame(opcode, payload, {.is_final = false, .reserved = reserved});
}

inline std::string close(std::uint16_t code, std::string_view reason = "") {
    std::string payload = {static_cast<char>(code >> 8U), static_cast<char>(code & 0xFFU)};
    return frame(0x8, payload.append(reason));
}

class Told {
public:
    explicit Told(const Limits& limits, bool may_be_deflated)
        : reader_(limits, pool_, may_be_deflated) {}

    // Takes at most `most` events before what is left is held.
    void feed(std::string_view piece, std::size_t most) {
        std::string lent(piece);
        reader_.feed(std::as_bytes(std::span(lent.data(), lent.size())));
        while (most-- > 0 && step()) {
        }
        reader_.hold();
        std::ranges::fill(lent, '?');  // the memory is ours again
    }

    bool step() {
        auto payload = [this] { return std::string(reader_.message()); };
        switch (reader_.next()) {
            case Event::kNeedMore: return false;
            case Event::kText: text_ += "text " + payload() + '\n'; return true;
            case Event::kBinary: text_ += "binary " + payload() + '\n'; return true;
            case Event::kPing: text_ += "ping " + payload() + '\n'; return true;
            case Event::kPong: text_ += "pong " + payload() + '\n'; return true;
            case Event::kClose:
                text_ += "close " + std::to_string(reader_.code()) + ' ' + payload() + '\n';
                return true;
            case Event::kFailed:
                if (!std::exchange(has_failed_, true))
                    text_ +=
                        "failed " + std::to_string(reader_.code()) + ' ' + reader_.reason() + '\n';
                return false;
        }
        return false;
    }

    const std::string& text() const noexcept { return text_; }

private:
    DeflatePool pool_;
    MessageReader reader_;
    std::string text_;
    bool has_failed_ = false;
};

template <class Length, class Most>
std::string told_in_pieces(std::string_view input, const Limits& limits, bool may_be_deflated,
                           Length length, Most most) {
    Told told(limits, may_be_deflated);
    while (!input.empty()) {
        std::string_view piece = input.substr(0, length());
        told.feed(piece, most());
        input.remove_prefix(piece.size());
    }
    while (told.step()) {
    }
    return told.text();
}

inline void expect_told(std::string_view input, std::string_view expected,
                        const Limits& limits = {}, bool may_be_deflated = true) {
    constexpr std::size_t kAll = ~std::size_t{0};
    auto always = [](std::size_t value) { return [=] { return value; }; };
    auto in_pieces = [&](auto length, auto most) {
        return told_in_pieces(input, limits, may_be_deflated, length, most);
    };
    ASSERT_EQ(in_pieces(always(kAll), always(kAll)), expected);
    ASSERT_EQ(in_pieces(always(1), always(kAll)), expected);
    ASSERT_EQ(in_pieces(always(1), always(0)), expected);
    std::size_t places = std::min<std::size_t>(input.size(), 300);
    for (std::size_t cut = 1; cut < places; ++cut) {
        bool is_first = true;
        auto length = [&] { return std::exchange(is_first, false) ? cut : kAll; };
        ASSERT_EQ(in_pieces(length, always(kAll)), expected) << "cut at " << cut;
    }
    std::mt19937 random(1);
    for (int i = 0; i < 20; ++i) {
        std::size_t longest = 1 + random() % (input.size() + 1);
        auto length = [&] { return 1 + random() % longest; };
        auto most = [&] { return random() % 4 == 0 ? kAll : random() % 3; };
        ASSERT_EQ(in_pieces(length, most), expected);
    }
}

}  // namespace penstock::websocket::testing
