#include "websocket/deflate.h"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <utility>

namespace penstock::websocket {
namespace {

// zlib takes what it reads as not const, and does not write to it.
Bytef* readable(std::string_view text) noexcept {
    return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

uInt at_most(std::size_t size) noexcept {
    constexpr std::size_t kMost = std::size_t{1} << 30U;
    return static_cast<uInt>(std::min(size, kMost));
}

constexpr std::size_t kLeastPacked = 64;  // below, a message is not worth it
constexpr std::size_t kSmall = 4096;      // a message that a small window suffices for
constexpr int kSmallBits = 12;
constexpr std::size_t kLargestKept = std::size_t{128} * 1024;

}  // namespace

struct Inflater::Stream {
    z_stream z{};
};

struct Deflater::Stream {
    z_stream z{};
};

Inflater::Inflater() : stream_(std::make_unique<Stream>()) {
    if (inflateInit2(&stream_->z, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
}

Inflater::~Inflater() { inflateEnd(&stream_->z); }

void Inflater::reset() noexcept {
    inflateReset(&stream_->z);
    may_have_more_ = false;
    is_broken_ = false;
    size_ = 0;
}

Inflater::Step Inflater::next(std::string_view& input) {
    z_stream& z = stream_->z;
    if (is_broken_) return Step::kRefused;
    while (!input.empty() || may_have_more_) {
        uInt given = at_most(input.size());
        z.next_in = readable(input);
        z.avail_in = given;
        z.next_out = reinterpret_cast<Bytef*>(room_.data());
        z.avail_out = static_cast<uInt>(room_.size());
        int status = inflate(&z, Z_SYNC_FLUSH);
        input.remove_prefix(given - z.avail_in);
        size_ = room_.size() - z.avail_out;
        may_have_more_ = z.avail_out == 0;
        if (status == Z_MEM_ERROR) throw std::bad_alloc();
        // RFC 7692, 7.2.3.4: a block may say that it is the last one, and others follow it.
        if (status == Z_STREAM_END) {
            inflateReset(&z);
            may_have_more_ = false;
        } else if (status == Z_BUF_ERROR) {
            may_have_more_ = false;  // nothing was left to do
        } else if (status != Z_OK) {
            is_broken_ = true;
        }
        // What stands before the fault is told too, however the input was cut.
        if (size_ > 0) return Step::kOutput;
        if (is_broken_ || (status == Z_BUF_ERROR && !input.empty())) return Step::kRefused;
    }
    return Step::kNeedInput;
}

Deflater::Deflater(int window_bits) : stream_(std::make_unique<Stream>()) {
    // A table of hashes as large as the window: what deflateReset() clears for each message.
    int memory = std::clamp(window_bits - 7, 1, 8);
    if (deflateInit2(&stream_->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window_bits, memory,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        throw std::bad_alloc();
}

Deflater::~Deflater() { deflateEnd(&stream_->z); }

bool Deflater::pack(std::string_view message, std::string& out) {
    z_stream& z = stream_->z;
    deflateReset(&z);
    // Where that does not suffice it has not become smaller. The tail is cut off again.
    out.resize(message.size() + Inflater::kTail.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    std::size_t room = out.size();
    std::string_view left = message;
    do {
        uInt given = at_most(left.size());
        uInt free = at_most(room);
        z.next_in = readable(left);
        z.avail_in = given;
        z.avail_out = free;
        bool is_last = given == left.size();
        int status = deflate(&z, is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        left.remove_prefix(given - z.avail_in);
        room -= free - z.avail_out;
        if (status != Z_OK || room == 0) return false;
    } while (!left.empty());
    out.resize(out.size() - room - Inflater::kTail.size());
    return out.size() < message.size();
}

std::unique_ptr<Inflater> DeflatePool::take() {
    if (count_ > 0) return std::move(idle_[--count_]);
    return std::make_unique<Inflater>();
}

void DeflatePool::give_back(std::unique_ptr<Inflater> inflater) noexcept {
    if (!inflater || count_ == kMostIdle) return;
    inflater->reset();
    idle_[count_++] = std::move(inflater);
}

std::string_view DeflatePool::pack(std::string_view message, int window_bits) {
    if (message.size() < kLeastPacked) return {};
    int wanted = message.size() <= kSmall ? std::min(window_bits, kSmallBits) : window_bits;
    int bits = std::clamp(wanted, kLeastBits, MAX_WBITS);
    std::unique_ptr<Deflater>& deflater = deflaters_[static_cast<std::size_t>(bits - kLeastBits)];
    if (!deflater) deflater = std::make_unique<Deflater>(bits);
    if (packed_.capacity() > kLargestKept) packed_ = std::string();
    return deflater->pack(message, packed_) ? std::string_view(packed_) : std::string_view();
}

}  // namespace penstock::websocket
