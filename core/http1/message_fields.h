// The fields of a head that say how its message is framed and what becomes of the connection; the
// others are the application's. Each may come once, but Connection and Expect.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http1/request.h"

namespace penstock::http1 {

class MessageFields {
public:
    // Takes the field in, if it is one of them. False sets `refusal`.
    bool take(const Field& field, Refusal& refusal) noexcept;

    std::optional<std::string_view> host;
    std::optional<std::string_view> upgrade;
    std::optional<std::uint64_t> length;  // the greatest there is for what is greater
    bool is_chunked = false;
    bool says_close = false;
    bool says_keep_alive = false;
    bool says_upgrade = false;
    bool expects_continue = false;
    bool expects_other = false;

private:
    bool take_length(std::string_view value, Refusal& refusal) noexcept;
    bool take_coding(std::string_view value, Refusal& refusal) noexcept;
    bool take_connection(std::string_view value, Refusal& refusal) noexcept;
};

}  // namespace penstock::http1
