// Lines of fields up to the empty one that ends them: of a head, or behind a chunked body. RFC
// 9112, 5, with CRLF as the only end of a line, and without obs-fold.
//
// They are read as they come: what a call has looked at, the next one does not look at again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "http1/progress.h"
#include "http1/request.h"

namespace penstock::http1 {

class FieldLines {
public:
    // The lines begin at `offset` of the text that read() gets. Keeps the room for fields.
    void begin(std::size_t offset) noexcept;

    // `text` is what it was at the call before, and maybe more behind it. Sets `refusal` if it says
    // kRefused. After std::bad_alloc it may be called again.
    Progress read(std::string_view text, std::size_t most, Refusal& refusal);
    // The text is elsewhere now: `from` was its first byte.
    void move(const char* from, const char* to) noexcept;

    std::span<const Field> fields() const noexcept { return fields_; }
    // Drops fields that are not wanted.
    template <class Unwanted>
    void drop_if(Unwanted unwanted) noexcept {
        std::erase_if(fields_, unwanted);
    }
    // Of the text, with the empty line, once all is read.
    std::size_t size() const noexcept { return scanned_; }

private:
    enum class Phase : std::uint8_t { kName, kBlank, kValue, kLineFeed, kLastLineFeed };

    std::vector<Field> fields_;
    // Offsets in the text: of the line that is not complete, and of what is not looked at.
    std::size_t name_ = 0;
    std::size_t name_end_ = 0;
    std::size_t value_ = 0;
    std::size_t scanned_ = 0;
    Phase phase_ = Phase::kName;
};

}  // namespace penstock::http1
