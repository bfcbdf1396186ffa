// What a parser says of bytes, as text, however they are split: for tests and for the fuzzer.
//
//     GET /path HTTP/1.1 [Host: a][X: y] length=5 keep
//     data hello
//     end
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "http1/limits.h"
#include "http1/request_parser.h"

namespace penstock::http1::testing {

class Transcript {
public:
    explicit Transcript(const Limits& limits = {}) : parser_(limits) {}

    // In memory of exactly its size, which is gone before the next piece comes: a sanitizer sees
    // what reads beyond, or looks back. After `before` events what is left of it is held.
    void feed(std::string_view piece, std::size_t before = ~std::size_t{0}) {
        auto memory = std::make_unique<char[]>(piece.size());
        std::ranges::copy(piece, memory.get());
        parser_.feed(std::as_bytes(std::span(memory.get(), piece.size())));
        for (std::size_t i = 0; i < before; ++i)
            if (!step()) return;
        parser_.hold();
    }

    // One event more. False where there is none before more is fed.
    bool step() {
        Event event = parser_.next();
        if (is_in_data_ && event != Event::kData && event != Event::kNeedMore) {
            text_ += '\n';
            is_in_data_ = false;
        }
        switch (event) {
            case Event::kNeedMore: return false;
            case Event::kHead: head(); return true;
            case Event::kData:
                // Pieces of a body are one, wherever it was split.
                if (!is_in_data_) text_ += "data ";
                is_in_data_ = true;
                text_ += parser_.data();
                body_bytes_ += parser_.data().size();
                has_lied_ |= parser_.data().empty();
                return true;
            case Event::kTrailers:
                text_ += "trailers ";
                fields(parser_.trailers());
                text_ += '\n';
                return true;
            case Event::kEnd: text_ += "end\n"; return true;
            case Event::kRefused:
                if (reason_.empty()) text_ += std::to_string(parser_.refusal().status) + '\n';
                reason_ = parser_.refusal().reason;
                return false;
        }
        return false;
    }

    const std::string& text() const noexcept { return text_; }
    const std::string& reason() const noexcept { return reason_; }  // of a refusal
    // Whether a body was not as long as its head had said, or a piece of one empty.
    bool has_lied() const noexcept { return has_lied_; }
    RequestParser& parser() noexcept { return parser_; }

private:
    void head() {
        const Request& request = parser_.request();
        has_length_ = request.framing != Framing::kChunked;
        length_ = request.length;
        body_bytes_ = 0;
        text_ += request.method;
        text_ += ' ';
        text_ += request.target;
        text_ += " HTTP/1." + std::to_string(request.minor) + ' ';
        fields(request.fields);
        if (request.framing == Framing::kLength)
            text_ += " length=" + std::to_string(request.length);
        if (request.framing == Framing::kChunked) text_ += " chunked";
        text_ += request.keeps_alive ? " keep" : " close";
        if (request.expects_continue) text_ += " expects";
        if (!request.upgrade.empty()) (text_ += " upgrade=") += request.upgrade;
        text_ += '\n';
    }

    void fields(std::span<const Field> all) {
        for (const Field& field : all) {
            ((text_ += '[') += field.name) += ": ";
            (text_ += field.value) += ']';
        }
    }

    RequestParser parser_;
    std::string text_;
    std::string reason_;
    std::uint64_t length_ = 0;
    std::uint64_t body_bytes_ = 0;
    bool has_length_ = false;
    bool is_in_data_ = false;
    bool has_lied_ = false;
};

}  // namespace penstock::http1::testing
