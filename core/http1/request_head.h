// The head of a request, read as it comes in memory where it is contiguous, and what its fields say
// of the message: RFC 9112, 3 to 7.
#pragma once

#include <cstddef>
#include <string_view>

#include "http1/field_lines.h"
#include "http1/limits.h"
#include "http1/progress.h"
#include "http1/request.h"
#include "http1/request_line.h"

namespace penstock::http1 {

class RequestHead {
public:
    // `text` begins with the method, and is what it was at the call before, and maybe more behind
    // it. After std::bad_alloc it may be called again.
    Progress read(std::string_view text, const Limits& limits);
    // The text is elsewhere now: `from` was its first byte.
    void move(const char* from, const char* to) noexcept { lines_.move(from, to); }
    // Once it is done: for the next one. Keeps the room for fields.
    void begin() noexcept;

    // Once it is done: views into the text, and into this.
    const Request& request() const noexcept { return request_; }
    std::size_t size() const noexcept { return lines_.size(); }
    const Refusal& refusal() const noexcept { return refusal_; }

private:
    bool judge(std::string_view text, const Limits& limits) noexcept;

    RequestLine line_;
    FieldLines lines_;
    Request request_;
    Refusal refusal_;
    bool has_line_ = false;
};

}  // namespace penstock::http1
