#include "http1/request_parser.h"

#include <algorithm>
#include <utility>

#include "http1/byte_class.h"
#include "http1/trailers.h"

namespace penstock::http1 {
namespace {

// RFC 9112, 2.2, asks for one: there were clients that sent it behind a body.
constexpr std::uint8_t kEmptyLines = 2;
// Memory that a connection keeps while nothing is in it.
constexpr std::size_t kIdleBytes = 4096;

}  // namespace

void RequestParser::feed(std::span<const std::byte> bytes) {
    if (state_ == State::kRefused) return;
    std::string_view more(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!input_.empty()) return keep(more);
    kept_.clear();
    input_ = more;
}

void RequestParser::hold() {
    if (!input_.empty()) keep({});
}

// What is unused, and `more` behind it, into memory of our own. What is used goes only when there
// is no room, so each byte is moved a bounded number of times.
void RequestParser::keep(std::string_view more) {
    if (kept_.empty() || kept_.capacity() - kept_.size() < more.size()) {
        std::vector<char> larger;
        larger.reserve(std::max(input_.size() * 2, input_.size() + more.size()));
        larger.insert(larger.end(), input_.begin(), input_.end());
        move_to(larger);
    }
    std::size_t used = kept_.size() - input_.size();
    kept_.insert(kept_.end(), more.begin(), more.end());
    input_ = {kept_.data() + used, kept_.size() - used};
}

void RequestParser::move_to(std::vector<char>& memory) noexcept {
    if (state_ == State::kHead) head_.move(input_.data(), memory.data());
    if (state_ == State::kTrailers) trailers_.move(input_.data(), memory.data());
    kept_.swap(memory);
    input_ = {kept_.data(), kept_.size()};
}

std::string_view RequestParser::unused() const noexcept { return input_; }

bool RequestParser::is_amid_request() const noexcept {
    bool is_between = state_ == State::kBetween || state_ == State::kLineFeed;
    return !is_between || !input_.empty();
}

Event RequestParser::next() {
    switch (state_) {
        case State::kBetween:
        case State::kLineFeed: return next_between();
        case State::kHead: return next_head();
        case State::kBody: return next_body();
        case State::kChunked: return next_chunk();
        case State::kTrailers: return next_trailers();
        case State::kEnd:
            state_ = State::kBetween;
            empty_lines_ = 0;
            return Event::kEnd;
        case State::kRefused: break;
    }
    return Event::kRefused;
}

Event RequestParser::need_more() {
    if (!input_.empty()) {
        if (kept_.empty()) keep({});
    } else if (kept_.capacity() > kIdleBytes) {
        kept_ = std::vector<char>();
    }
    return Event::kNeedMore;
}

Event RequestParser::refuse(const Refusal& refusal) noexcept {
    refusal_ = refusal;
    state_ = State::kRefused;
    input_ = {};
    return Event::kRefused;
}

Event RequestParser::next_between() {
    for (; !input_.empty(); use(1)) {
        if (state_ == State::kLineFeed) {
            if (input_[0] != '\n') return refuse({400, "CR without LF"});
            state_ = State::kBetween;
        } else if (input_[0] == '\r' && empty_lines_ < kEmptyLines) {
            ++empty_lines_;
            state_ = State::kLineFeed;
        } else {
            state_ = State::kHead;
            head_.begin();
            return next_head();
        }
    }
    return need_more();
}

Event RequestParser::next_head() {
    switch (head_.read(input_, limits_)) {
        case Progress::kNeedMore: return need_more();
        case Progress::kRefused: return refuse(head_.refusal());
        case Progress::kDone: break;
    }
    use(head_.size());
    begin_body();
    return Event::kHead;
}

void RequestParser::begin_body() noexcept {
    const Request& request = head_.request();
    if (request.framing == Framing::kChunked) {
        chunks_ = ChunkedDecoder();
        state_ = State::kChunked;
    } else {
        missing_ = request.length;
        state_ = missing_ != 0 ? State::kBody : State::kEnd;
    }
}

Event RequestParser::next_body() {
    if (input_.empty()) return need_more();
    data_ = input_.substr(0, std::min<std::uint64_t>(missing_, input_.size()));
    use(data_.size());
    missing_ -= data_.size();
    if (missing_ == 0) state_ = State::kEnd;
    return Event::kData;
}

Event RequestParser::next_chunk() {
    Refusal why;
    switch (chunks_.next(input_, limits_, data_, why)) {
        case ChunkedDecoder::Step::kNeedMore: return need_more();
        case ChunkedDecoder::Step::kData: return Event::kData;
        case ChunkedDecoder::Step::kRefused: return refuse(why);
        case ChunkedDecoder::Step::kLast: break;
    }
    trailers_.begin(0);
    state_ = State::kTrailers;
    return next_trailers();
}

Event RequestParser::next_trailers() {
    // The empty line that ends them does not count.
    std::string_view text = input_.substr(0, limits_.trailer_bytes + 2);
    Refusal why;
    switch (trailers_.read(text, limits_.fields, why)) {
        case Progress::kNeedMore:
            if (text.size() == limits_.trailer_bytes + 2)
                return refuse({431, "the trailers are too long"});
            return need_more();
        case Progress::kRefused: return refuse(why);
        case Progress::kDone: break;
    }
    if (!accept_trailers(trailers_, why)) return refuse(why);
    use(trailers_.size());
    state_ = State::kEnd;
    return trailers_.fields().empty() ? next() : Event::kTrailers;
}

}  // namespace penstock::http1
