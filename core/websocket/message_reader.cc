#include "websocket/message_reader.h"

#include <algorithm>
#include <utility>

#include "websocket/close_code.h"

namespace penstock::websocket {
namespace {

// Memory that a connection keeps while no message is under way.
constexpr std::size_t kIdleBytes = 512;

void shrink(std::string& text) noexcept {
    text.clear();
    if (text.capacity() > kIdleBytes) std::string().swap(text);
}

}  // namespace

void MessageReader::feed(std::span<const std::byte> bytes) {
    if (state_ == State::kOver || state_ == State::kFailed) return;
    std::string_view more(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (input_.empty()) {
        kept_.clear();
        input_ = more;
        return;
    }
    hold();
    std::size_t used = kept_.size() - input_.size();
    kept_.append(more);
    input_ = std::string_view(kept_).substr(used);
}

void MessageReader::hold() {
    if (input_.empty()) return;
    bool is_ours = !kept_.empty() && input_.data() + input_.size() == kept_.data() + kept_.size();
    // Ours, and less than half of it used: it stays where it is, so that each byte is moved rarely.
    if (is_ours && input_.size() * 2 > kept_.size()) return;
    std::string moved(input_);
    kept_.swap(moved);
    input_ = kept_;
}

Event MessageReader::fail(std::uint16_t code, const char* reason) noexcept {
    state_ = State::kFailed;
    code_ = code;
    reason_ = reason;
    input_ = {};
    shrink(text_);
    shrink(kept_);
    pool_.give_back(std::move(inflater_));
    return Event::kFailed;
}

void MessageReader::forget_told() noexcept {
    told_ = {};
    if (!std::exchange(is_told_, false)) return;
    // Where more has come it will be needed at once.
    if (input_.empty())
        shrink(text_);
    else
        text_.clear();
}

Event MessageReader::next() {
    forget_told();
    for (;;) {
        if (state_ == State::kFailed) return Event::kFailed;
        if (state_ == State::kOver) return Event::kNeedMore;
        if (state_ == State::kHead) {
            switch (head_parser_.read(input_, may_be_deflated_, head_)) {
                case FrameHeadParser::Step::kNeedMore:
                    shrink(kept_);
                    if (opcode_ == Opcode::kContinuation) shrink(text_);
                    return Event::kNeedMore;
                case FrameHeadParser::Step::kRefused:
                    return fail(kProtocolError, head_parser_.reason());
                case FrameHeadParser::Step::kDone: break;
            }
            if (!begin_frame()) return Event::kFailed;
        }
        if (!take_payload()) return Event::kFailed;
        if (missing_ > 0) {
            shrink(kept_);
            return Event::kNeedMore;
        }
        state_ = State::kHead;
        if (Event event = end_frame(); event != Event::kNeedMore) return event;
    }
}

bool MessageReader::begin_frame() {
    state_ = State::kPayload;
    missing_ = head_.length;
    if (is_control(head_.opcode)) {
        control_size_ = 0;
        return true;
    }
    auto refuse = [this](std::uint16_t code, const char* reason) {
        fail(code, reason);
        return false;
    };
    bool is_amid = opcode_ != Opcode::kContinuation;
    if (head_.opcode == Opcode::kContinuation) {
        if (!is_amid) return refuse(kProtocolError, "continuation of no message");
    } else {
        if (is_amid) return refuse(kProtocolError, "message within another");
        opcode_ = head_.opcode;
        packed_ = 0;
        fragments_ = 0;
        utf8_ = {};
        if (head_.is_deflated) inflater_ = pool_.take();
    }
    // Neither sum can overflow: a length has 63 bits, and what came before is within the limit.
    packed_ += head_.length;
    // What does not compress grows by 5 bytes for each 16 KiB, in zlib's own way.
    std::uint64_t most = limits_.message_bytes;
    if (inflater_) most += most / 1024 + 64;
    if (packed_ > most) return refuse(kMessageTooBig, "message too big");
    ++fragments_;
    if (fragments_ > limits_.free_fragments + packed_ / limits_.bytes_a_fragment)
        return refuse(kMessageTooBig, "too many fragments");
    return true;
}

bool MessageReader::take_payload() {
    std::size_t count = std::min<std::uint64_t>(missing_, input_.size());
    if (count == 0) return true;
    std::uint64_t at = head_.length - missing_;
    if (is_control(head_.opcode)) {
        unmask(control_.data() + control_size_, input_.data(), count, head_.key, at);
        control_size_ = static_cast<std::uint8_t>(control_size_ + count);
        input_.remove_prefix(count);
        missing_ -= count;
        return true;
    }
    if (!inflater_) {
        // Into its place at once.
        std::size_t before = text_.size();
        text_.resize(before + count);
        unmask(text_.data() + before, input_.data(), count, head_.key, at);
        input_.remove_prefix(count);
        missing_ -= count;
        return take_piece(std::string_view(text_).substr(before));
    }
    std::array<char, 4096> room;
    while (count > 0) {
        std::size_t size = std::min(count, room.size());
        unmask(room.data(), input_.data(), size, head_.key, head_.length - missing_);
        input_.remove_prefix(size);
        missing_ -= size;
        count -= size;
        if (!inflate({room.data(), size})) return false;
    }
    return true;
}

// A piece of the message that stands at the end of text_.
bool MessageReader::take_piece(std::string_view piece) {
    if (opcode_ != Opcode::kText || utf8_.feed(piece)) return true;
    fail(kInvalidData, "text that is not UTF-8");
    return false;
}

// How many bytes the message may have become with what has been announced of it; `reason` for more.
std::uint64_t MessageReader::most_inflated(const char*& reason) const noexcept {
    std::uint64_t most = limits_.message_bytes;
    reason = "message too big";
    if (limits_.inflation == 0 || packed_ >= most / limits_.inflation) return most;
    std::uint64_t bound =
        std::max<std::uint64_t>(limits_.free_inflated, limits_.inflation * (packed_ + 1) - 1);
    if (bound < most) reason = "message inflates too much";
    return std::min(bound, most);
}

bool MessageReader::inflate(std::string_view piece) {
    const char* reason;
    std::uint64_t most = most_inflated(reason);
    for (;;) {
        Inflater::Step step = inflater_->next(piece);
        if (step == Inflater::Step::kNeedInput) return true;
        if (step == Inflater::Step::kRefused) {
            fail(kInvalidData, "data that can't be inflated");
            return false;
        }
        std::string_view output = inflater_->output();
        bool is_too_much = output.size() > most - text_.size();
        // What there is room for is looked at first: the pieces must not decide what is told.
        if (is_too_much) output = output.substr(0, most - text_.size());
        text_.append(output);
        if (!take_piece(output)) return false;
        if (!is_too_much) continue;
        fail(kMessageTooBig, reason);
        return false;
    }
}

Event MessageReader::end_frame() {
    switch (head_.opcode) {
        case Opcode::kPing:
        case Opcode::kPong:
            told_ = {control_.data(), control_size_};
            return head_.opcode == Opcode::kPing ? Event::kPing : Event::kPong;
        case Opcode::kClose: return end_close();
        default: return head_.is_final ? end_message() : Event::kNeedMore;
    }
}

Event MessageReader::end_message() {
    if (inflater_) {
        if (!inflate(Inflater::kTail)) return Event::kFailed;
        pool_.give_back(std::move(inflater_));
    }
    if (opcode_ == Opcode::kText && !utf8_.is_complete())
        return fail(kInvalidData, "text that is not UTF-8");
    Event event = opcode_ == Opcode::kText ? Event::kText : Event::kBinary;
    opcode_ = Opcode::kContinuation;
    told_ = text_;
    is_told_ = true;
    return event;
}

Event MessageReader::end_close() {
    std::string_view payload(control_.data(), control_size_);
    code_ = kNoStatus;
    if (payload.size() == 1) return fail(kProtocolError, "close frame with half a code");
    if (payload.size() >= 2) {
        code_ = static_cast<std::uint16_t>(static_cast<std::uint8_t>(payload[0]) << 8U |
                                           static_cast<std::uint8_t>(payload[1]));
        payload.remove_prefix(2);
        if (!is_close_code(code_)) return fail(kProtocolError, "close code that can't be sent");
        if (!is_utf8(payload)) return fail(kInvalidData, "close reason that is not UTF-8");
    }
    state_ = State::kOver;
    input_ = {};
    shrink(text_);
    shrink(kept_);
    pool_.give_back(std::move(inflater_));
    told_ = payload;
    return Event::kClose;
}

}  // namespace penstock::websocket
