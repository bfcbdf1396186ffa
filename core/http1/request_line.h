// The first line of a request, read as it comes: RFC 9112, 3, with exactly one space between its
// parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http1/limits.h"
#include "http1/progress.h"
#include "http1/request.h"

namespace penstock::http1 {

class RequestLine {
public:
    // `text` is what it was at the call before, and maybe more behind it. Sets `refusal` if it says
    // kRefused.
    Progress read(std::string_view text, const Limits& limits, Refusal& refusal) noexcept;

    // Once it is read, of the text that it was read from:
    std::string_view method(std::string_view text) const noexcept;
    std::string_view target(std::string_view text) const noexcept;
    std::uint8_t minor() const noexcept { return minor_; }
    std::size_t size() const noexcept { return scanned_; }  // with CRLF

private:
    enum class Phase : std::uint8_t { kMethod, kTarget, kVersion, kDone };

    Progress read_version(std::string_view text, Refusal& refusal) noexcept;

    std::size_t target_ = 0;
    std::size_t version_ = 0;
    std::size_t scanned_ = 0;
    Phase phase_ = Phase::kMethod;
    std::uint8_t minor_ = 1;
};

}  // namespace penstock::http1
