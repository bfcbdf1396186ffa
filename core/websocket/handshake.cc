#include "websocket/handshake.h"

#include <algorithm>

#include "websocket/base64.h"
#include "websocket/field_list.h"
#include "websocket/sha1.h"

namespace penstock::websocket {
namespace {

constexpr std::size_t kMostSubprotocols = 64;  // each is compared with those before it

}  // namespace

void Handshake::take(std::string_view name, std::string_view value) {
    constexpr std::string_view kPrefix = "sec-websocket-";
    if (name.size() <= kPrefix.size() || !is_word(name.substr(0, kPrefix.size()), kPrefix)) return;
    name.remove_prefix(kPrefix.size());
    if (is_word(name, "key")) {
        key_ = value;
        ++keys_;
    } else if (is_word(name, "version")) {
        version_ = value;
        ++versions_;
    } else if (is_word(name, "protocol")) {
        each_of(value, [this](std::string_view each) {
            // RFC 6455, 4.1: tokens, each once.
            bool is_new = std::ranges::find(subprotocols_, each) == subprotocols_.end();
            bool is_one_more = subprotocols_.size() < kMostSubprotocols;
            if (!is_one_more || !is_token(each) || !is_new) has_bad_subprotocol_ = true;
            if (has_bad_subprotocol_) return false;
            subprotocols_.push_back(each);
            return true;
        });
    } else if (is_word(name, "extensions") && !deflate_) {
        deflate_ = agree_on_deflate(value);
    }
}

Handshake::Refusal Handshake::verdict() const noexcept {
    if (versions_ != 1 || version_ != "13") return {426, "a Sec-WebSocket-Version that is not 13"};
    if (keys_ != 1 || !is_base64_of_16(key_)) return {400, "no good Sec-WebSocket-Key"};
    if (has_bad_subprotocol_) return {400, "a Sec-WebSocket-Protocol that is no list of tokens"};
    return {0, ""};
}

std::string accept_of(std::string_view key) {
    std::string text(key);
    text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    return base64(sha1(text));
}

}  // namespace penstock::websocket
