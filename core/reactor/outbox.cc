#include "reactor/outbox.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/fork.h"
#include "reactor/reactor.h"

namespace penstock {

bool Outbox::keep(Writer& writer, std::span<const iovec> pieces, std::size_t size) noexcept {
    bool is_first = entries_.empty();
    if (size > kMostAWrite || bytes_.size() + size > kMostBytes || !is_open()) return false;
    if (is_first && !reactor_->has_more()) return false;
    try {
        bytes_.reserve(kMostBytes);
        if (!is_last(writer)) entries_.push_back({&writer, bytes_.size(), 0});
    } catch (const std::bad_alloc&) {
        return false;
    }
    for (const iovec& piece : pieces) {
        auto* begin = static_cast<const std::byte*>(piece.iov_base);
        bytes_.insert(bytes_.end(), begin, begin + piece.iov_len);
    }
    entries_.back().size += size;
    if (is_first) {
        since_ = now();
        forks_ = fork_count();
    }
    return true;
}

std::span<const std::byte> Outbox::take(const Writer& writer) noexcept {
    auto found = std::find_if(entries_.rbegin(), entries_.rend(),
                              [&](const Entry& entry) { return entry.writer == &writer; });
    if (found == entries_.rend()) return {};
    found->writer = nullptr;
    if (forks_ != fork_count()) return {};
    return std::span<const std::byte>(bytes_).subspan(found->begin, found->size);
}

// A writer may run foreign code, which may take what others have.
void Outbox::flush() noexcept {
    if (entries_.empty() || is_flushing_) return;
    is_flushing_ = true;
    bool is_child = forks_ != fork_count();
    std::span<const std::byte> bytes = bytes_;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        Entry& entry = entries_[i];
        Writer* writer = std::exchange(entry.writer, nullptr);
        if (writer == nullptr) continue;
        writer->send_kept(is_child ? std::span<const std::byte>()
                                   : bytes.subspan(entry.begin, entry.size));
    }
    entries_.clear();
    bytes_.clear();
    is_flushing_ = false;
}

}  // namespace penstock
