#include "http1/response.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "http1/byte_class.h"
#include "http1/scanner.h"

namespace penstock::http1 {
namespace {

void append_in_base(std::string& out, std::size_t number, int base) {
    std::array<char, 24> digits;
    char* end = std::to_chars(digits.data(), digits.data() + digits.size(), number, base).ptr;
    out.append(digits.data(), end);
}

void put_two(char* at, int number) noexcept {
    at[0] = static_cast<char>('0' + number / 10);
    at[1] = static_cast<char>('0' + number % 10);
}

}  // namespace

bool is_field_name(std::string_view name) noexcept {
    const char* end = name.data() + name.size();
    return !name.empty() && scanner().token(name.data(), end) == end;
}

bool is_field_value(std::string_view value) noexcept {
    const char* end = value.data() + value.size();
    return scanner().value(value.data(), end) == end;
}

// IANA's registry of status codes.
std::string_view reason_phrase(int status) noexcept {
    switch (status) {
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 102: return "Processing";
        case 103: return "Early Hints";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 203: return "Non-Authoritative Information";
        case 204: return "No Content";
        case 205: return "Reset Content";
        case 206: return "Partial Content";
        case 207: return "Multi-Status";
        case 208: return "Already Reported";
        case 226: return "IM Used";
        case 300: return "Multiple Choices";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 305: return "Use Proxy";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 402: return "Payment Required";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 406: return "Not Acceptable";
        case 407: return "Proxy Authentication Required";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 411: return "Length Required";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 417: return "Expectation Failed";
        case 421: return "Misdirected Request";
        case 422: return "Unprocessable Content";
        case 423: return "Locked";
        case 424: return "Failed Dependency";
        case 425: return "Too Early";
        case 426: return "Upgrade Required";
        case 428: return "Precondition Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 451: return "Unavailable For Legal Reasons";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        case 506: return "Variant Also Negotiates";
        case 507: return "Insufficient Storage";
        case 508: return "Loop Detected";
        case 511: return "Network Authentication Required";
        default: return "";
    }
}

void append_status_line(std::string& out, int status) {
    if (status == 200) {
        out += "HTTP/1.1 200 OK\r\n";
        return;
    }
    out += "HTTP/1.1 ";
    append_number(out, static_cast<std::size_t>(status));
    out += ' ';  // also where nothing follows: RFC 9112, 4
    out += reason_phrase(status);
    out += "\r\n";
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.reserve(out.size() + name.size() + value.size() + 4);
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
}

void append_number(std::string& out, std::size_t number) { append_in_base(out, number, 10); }

void append_chunk_head(std::string& out, std::size_t size) {
    append_in_base(out, size, 16);
    out += "\r\n";
}

std::string_view DateLine::at(long long seconds) noexcept {
    constexpr std::string_view kShape = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    static_assert(kShape.size() < sizeof text_);
    if (seconds != seconds_) {
        constexpr char kDays[] = "SunMonTueWedThuFriSat";
        constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        auto now = static_cast<std::time_t>(seconds);
        std::tm parts;
        gmtime_r(&now, &parts);
        std::ranges::copy(kShape, text_);
        std::copy_n(kDays + std::ptrdiff_t{3} * parts.tm_wday, 3, text_ + 6);
        put_two(text_ + 11, parts.tm_mday);
        std::copy_n(kMonths + std::ptrdiff_t{3} * parts.tm_mon, 3, text_ + 14);
        int year = parts.tm_year + 1900;
        put_two(text_ + 18, year / 100);
        put_two(text_ + 20, year % 100);
        put_two(text_ + 23, parts.tm_hour);
        put_two(text_ + 26, parts.tm_min);
        put_two(text_ + 29, parts.tm_sec);
        seconds_ = seconds;
    }
    return {text_, kShape.size()};
}

}  // namespace penstock::http1
