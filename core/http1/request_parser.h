// Requests out of a connection's bytes, without I/O: feed() lends bytes, next() tells what they
// say, one event at a time, until they are used up. RFC 9112, strictly: what another parser on the
// way might read otherwise is refused (its section 11.2).
//
// After kEnd the next request may begin at once; who wants to answer first stops calling next(),
// and what came too much is kept by hold().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "http1/chunked.h"
#include "http1/field_lines.h"
#include "http1/limits.h"
#include "http1/request.h"
#include "http1/request_head.h"

namespace penstock::http1 {

enum class Event : std::uint8_t {
    kNeedMore,  // all that was fed is used, or copied
    kHead,      // request() is there
    kData,      // data() is a piece of its body, never empty
    kTrailers,  // trailers() is there: before kEnd, where a chunked body has any
    kEnd,       // of the request
    kRefused,   // refusal() says why; nothing follows but this
};

class RequestParser {
public:
    explicit RequestParser(const Limits& limits) noexcept : limits_(limits) {}

    // The memory is the caller's again once next() has returned kNeedMore or hold() has been
    // called. Not while bytes fed before are in use.
    void feed(std::span<const std::byte> bytes);  // throws std::bad_alloc
    Event next();                                 // throws std::bad_alloc
    // Copies what is fed and not used yet, for a next() that comes later.
    void hold();  // throws std::bad_alloc
    // What is fed or held and not used: what follows an upgrade, or a pipeline's length.
    std::string_view unused() const noexcept;

    // Until the following next(), feed() or hold().
    const Request& request() const noexcept { return head_.request(); }
    std::string_view data() const noexcept { return data_; }
    std::span<const Field> trailers() const noexcept { return trailers_.fields(); }
    const Refusal& refusal() const noexcept { return refusal_; }

    // Whether a part of a head, or of a body, has come: else the connection is idle.
    bool is_amid_request() const noexcept;

private:
    enum class State : std::uint8_t {
        kBetween,   // up to the first byte of a method
        kLineFeed,  // of an empty line there
        kHead,
        kBody,  // what is to come of it is in missing_
        kChunked,
        kTrailers,
        kEnd,  // to be told
        kRefused,
    };

    Event next_between();
    Event next_head();
    Event next_body();
    Event next_chunk();
    Event next_trailers();
    Event need_more();
    Event refuse(const Refusal& refusal) noexcept;
    void begin_body() noexcept;
    void use(std::size_t count) noexcept { input_.remove_prefix(count); }
    void keep(std::string_view more);
    void move_to(std::vector<char>& memory) noexcept;

    Limits limits_;
    std::string_view input_;  // what is not used: lent, or the end of kept_
    std::vector<char> kept_;  // empty while the input is lent
    std::string_view data_;
    RequestHead head_;
    ChunkedDecoder chunks_;
    FieldLines trailers_;
    std::uint64_t missing_ = 0;
    Refusal refusal_;
    State state_ = State::kBetween;
    std::uint8_t empty_lines_ = 0;
};

}  // namespace penstock::http1
