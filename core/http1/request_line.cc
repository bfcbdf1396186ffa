#include "http1/request_line.h"

#include "http1/byte_class.h"
#include "http1/scanner.h"

namespace penstock::http1 {
namespace {

// Registered ones have at most 17 bytes (RFC 9110, 16.1.1).
constexpr std::size_t kMethodBytes = 32;

Progress refuse(Refusal& refusal, int status, const char* reason) noexcept {
    refusal = {status, reason};
    return Progress::kRefused;
}

}  // namespace

std::string_view RequestLine::method(std::string_view text) const noexcept {
    return text.substr(0, target_ - 1);
}

std::string_view RequestLine::target(std::string_view text) const noexcept {
    return text.substr(target_, version_ - 1 - target_);
}

Progress RequestLine::read(std::string_view text, const Limits& limits, Refusal& refusal) noexcept {
    const char* const base = text.data();
    // A part that is too long is refused before what follows it is looked at, so that it does not
    // matter in which pieces it comes.
    auto scan = [&](Scanner::Scan run, std::size_t start, std::size_t most) {
        std::size_t there = text.size() - start;
        const char* end = base + start + (there > most ? most + 1 : there);
        scanned_ = static_cast<std::size_t>(run(base + scanned_, end) - base);
    };
    switch (phase_) {
        case Phase::kMethod:
            scan(scanner().token, 0, kMethodBytes);
            if (scanned_ > kMethodBytes) return refuse(refusal, 501, "no such method");
            if (scanned_ == text.size()) return Progress::kNeedMore;
            if (scanned_ == 0 || text[scanned_] != ' ')
                return refuse(refusal, 400, "no method, or a byte that none has");
            // Reserved, so that the preface of HTTP/2 is nothing else: RFC 9113, 3.4.
            if (text.substr(0, scanned_) == "PRI") return refuse(refusal, 505, "no HTTP/2 here");
            target_ = ++scanned_;
            phase_ = Phase::kTarget;
            [[fallthrough]];
        case Phase::kTarget:
            scan(scanner().target, target_, limits.target_bytes);
            if (scanned_ - target_ > limits.target_bytes)
                return refuse(refusal, 414, "the target is too long");
            if (scanned_ == text.size()) return Progress::kNeedMore;
            if (scanned_ == target_ || text[scanned_] != ' ')
                return refuse(refusal, 400, "no target, or a byte that none has");
            version_ = ++scanned_;
            phase_ = Phase::kVersion;
            [[fallthrough]];
        case Phase::kVersion: return read_version(text.substr(version_), refusal);
        case Phase::kDone: break;
    }
    return Progress::kDone;
}

// From its start, however it comes: it is short.
Progress RequestLine::read_version(std::string_view text, Refusal& refusal) noexcept {
    constexpr std::string_view kCurrent = "HTTP/1.1\r\n";
    if (!text.starts_with(kCurrent)) [[unlikely]] {
        constexpr std::string_view kShape = "HTTP/d.d";
        for (std::size_t i = 0; i < kShape.size(); ++i) {
            if (i == text.size()) return Progress::kNeedMore;
            if (kShape[i] == 'd' ? !is_digit(text[i]) : text[i] != kShape[i])
                return refuse(refusal, 400, "no version");
        }
        if (text[5] != '1' || text[7] > '1') return refuse(refusal, 505, "no version of HTTP/1");
        for (std::size_t i = kShape.size(); i < kCurrent.size(); ++i) {
            if (i == text.size()) return Progress::kNeedMore;
            if (text[i] != kCurrent[i]) return refuse(refusal, 400, "no CRLF behind the version");
        }
        minor_ = static_cast<std::uint8_t>(text[7] - '0');
    }
    scanned_ = version_ + kCurrent.size();
    phase_ = Phase::kDone;
    return Progress::kDone;
}

}  // namespace penstock::http1
