#include "http1/field_lines.h"

#include "http1/byte_class.h"
#include "http1/scanner.h"

namespace penstock::http1 {
namespace {

// Of the first message that has any: a browser sends eleven to fifteen.
constexpr std::size_t kFirstFields = 16;

Refusal refused_name(char byte, bool is_at_start) noexcept {
    if (is_blank(byte))
        return {400, is_at_start ? "a folded line" : "white space in or after a field's name"};
    if (byte == '\n') return {400, "a line that LF ends without CR"};
    return {400, byte == ':' ? "a field without a name" : "a byte that no field's name has"};
}

std::string_view without_blanks_behind(const char* at, const char* end) noexcept {
    while (end != at && is_blank(end[-1])) --end;
    return {at, static_cast<std::size_t>(end - at)};
}

}  // namespace

void FieldLines::begin(std::size_t offset) noexcept {
    fields_.clear();
    name_ = scanned_ = offset;
    phase_ = Phase::kName;
}

void FieldLines::move(const char* from, const char* to) noexcept {
    for (Field& field : fields_) {
        field.name = {to + (field.name.data() - from), field.name.size()};
        field.value = {to + (field.value.data() - from), field.value.size()};
    }
}

Progress FieldLines::read(std::string_view text, std::size_t most, Refusal& refusal) {
    const Scanner& scan = scanner();
    const char* const base = text.data();
    const char* const end = base + text.size();
    const char* at = base + scanned_;
    auto offset = [&] { return static_cast<std::size_t>(at - base); };
    auto wait = [&] {
        scanned_ = offset();
        return Progress::kNeedMore;
    };
    auto refuse = [&](Refusal why) {
        refusal = why;
        return Progress::kRefused;
    };
    for (;;) {
        switch (phase_) {
            case Phase::kName:
                at = scan.token(at, end);
                if (at == end) return wait();
                if (*at != ':' || offset() == name_) [[unlikely]] {
                    if (*at != '\r' || offset() != name_)
                        return refuse(refused_name(*at, offset() == name_));
                    ++at;
                    phase_ = Phase::kLastLineFeed;
                    continue;
                }
                name_end_ = offset();
                ++at;
                phase_ = Phase::kBlank;
                [[fallthrough]];
            case Phase::kBlank:
                while (at != end && is_blank(*at)) ++at;
                if (at == end) return wait();
                value_ = offset();
                phase_ = Phase::kValue;
                [[fallthrough]];
            case Phase::kValue:
                at = scan.value(at, end);
                if (at == end) return wait();
                if (*at != '\r')
                    return refuse({400, *at == '\n' ? "a line that LF ends without CR"
                                                    : "a control character in a field's value"});
                ++at;
                phase_ = Phase::kLineFeed;
                [[fallthrough]];
            case Phase::kLineFeed:
                scanned_ = offset();
                if (at == end) return Progress::kNeedMore;
                if (*at != '\n') return refuse({400, "CR without LF"});
                if (fields_.size() == most) return refuse({431, "too many fields"});
                if (fields_.capacity() == 0) fields_.reserve(kFirstFields);
                fields_.push_back({{base + name_, name_end_ - name_},
                                   without_blanks_behind(base + value_, at - 1)});
                ++at;
                name_ = offset();
                phase_ = Phase::kName;
                continue;
            case Phase::kLastLineFeed:
                scanned_ = offset();
                if (at == end) return Progress::kNeedMore;
                if (*at != '\n') return refuse({400, "CR without LF"});
                ++scanned_;
                return Progress::kDone;
        }
    }
}

}  // namespace penstock::http1
