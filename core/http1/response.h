// The parts of a response's head, and of a chunked body.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace penstock::http1 {

// RFC 9110, 5.1 and 5.5: a token; no control character but a tab inside.
bool is_field_name(std::string_view name) noexcept;
bool is_field_value(std::string_view value) noexcept;

std::string_view reason_phrase(int status) noexcept;  // "" where the registry has none

// All throw std::bad_alloc.
void append_status_line(std::string& out, int status);
void append_field(std::string& out, std::string_view name, std::string_view value);
void append_number(std::string& out, std::size_t number);
void append_chunk_head(std::string& out, std::size_t size);  // a size of 0 would end the body

// "Date: …\r\n", formatted once a second.
class DateLine {
public:
    // `seconds` since 1970.
    std::string_view at(long long seconds) noexcept;

private:
    long long seconds_ = -1;
    char text_[40] = {};
};

}  // namespace penstock::http1
