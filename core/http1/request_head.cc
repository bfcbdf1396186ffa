#include "http1/request_head.h"

#include <optional>

#include "http1/authority.h"
#include "http1/message_fields.h"
#include "http1/target.h"

namespace penstock::http1 {

void RequestHead::begin() noexcept {
    line_ = RequestLine();
    has_line_ = false;
}

Progress RequestHead::read(std::string_view text, const Limits& limits) {
    text = text.substr(0, limits.head_bytes);
    Progress progress = Progress::kDone;
    if (!has_line_) {
        progress = line_.read(text, limits, refusal_);
        if (progress == Progress::kDone) {
            has_line_ = true;
            lines_.begin(line_.size());
        }
    }
    if (progress == Progress::kDone) progress = lines_.read(text, limits.fields, refusal_);
    if (progress == Progress::kNeedMore && text.size() == limits.head_bytes) {
        refusal_ = {431, "the head is too long"};
        return Progress::kRefused;
    }
    if (progress == Progress::kDone && !judge(text, limits)) return Progress::kRefused;
    return progress;
}

// All that follows is of the whole head, so it does not matter where in it a field stands.
bool RequestHead::judge(std::string_view text, const Limits& limits) noexcept {
    auto refuse = [&](int status, const char* reason) {
        refusal_ = {status, reason};
        return false;
    };
    Request& request = request_ = Request();
    request.method = line_.method(text);
    request.target = line_.target(text);
    request.fields = lines_.fields();
    request.minor = line_.minor();
    std::optional<TargetForm> form = form_of(request.target, request.method);
    if (!form) return refuse(400, "a target that its method has not");

    MessageFields said;
    for (const Field& field : request.fields)
        if (!said.take(field, refusal_)) return false;

    bool is_current = request.minor != 0;
    if (is_current && !said.host) return refuse(400, "no Host");
    // RFC 9112, 3.2 and 3.2.2: it must be the target's, which else goes before it.
    if (said.host && !form->authority.empty() && !same_authority(*said.host, form->authority))
        return refuse(400, "a Host that is not the target's");

    if (said.is_chunked && said.length)
        return refuse(400, "both Transfer-Encoding and Content-Length");
    if (said.is_chunked && !is_current) return refuse(400, "a Transfer-Encoding of HTTP/1.0");
    bool has_body = said.is_chunked || said.length.value_or(0) != 0;
    // RFC 9110, 9.3.6: such content has no meaning, and parsers differ in where it ends.
    if (has_body && request.method == "CONNECT") return refuse(400, "CONNECT has no body");
    if (said.length && *said.length > limits.body_bytes) return refuse(413, "the body is too long");
    request.framing = said.is_chunked ? Framing::kChunked
                      : said.length   ? Framing::kLength
                                      : Framing::kNone;
    request.length = said.length.value_or(0);

    if (said.expects_other) return refuse(417, "an expectation that is not 100-continue");
    // RFC 9110, 10.1.1 and 7.8: neither is of HTTP/1.0.
    request.expects_continue = said.expects_continue && is_current && has_body;
    if (said.says_upgrade && is_current) request.upgrade = said.upgrade.value_or("");
    request.keeps_alive = !said.says_close && (is_current || said.says_keep_alive);
    return true;
}

}  // namespace penstock::http1
