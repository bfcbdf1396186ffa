// The opening handshake, the server's side of it: RFC 6455, 4.2.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "websocket/deflate_offer.h"

namespace penstock::websocket {

// The fields of a request that it is made of, taken in one by one. What it keeps points into them.
class Handshake {
public:
    // Throws std::bad_alloc.
    void take(std::string_view name, std::string_view value);

    struct Refusal {
        int status;  // 0: it is a good one
        const char* reason;
    };
    // Once all are taken in.
    Refusal verdict() const noexcept;

    std::string_view key() const noexcept { return key_; }
    const std::vector<std::string_view>& subprotocols() const noexcept { return subprotocols_; }
    // Of the first offer that can be met.
    std::optional<DeflateTerms> deflate() const noexcept { return deflate_; }

private:
    std::string_view key_, version_;
    int keys_ = 0, versions_ = 0;
    bool has_bad_subprotocol_ = false;
    std::vector<std::string_view> subprotocols_;
    std::optional<DeflateTerms> deflate_;
};

// The response's Sec-WebSocket-Accept. Throws std::bad_alloc.
std::string accept_of(std::string_view key);

}  // namespace penstock::websocket
