#include "asgi/field_cache.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "asgi/text.h"
#include "py/ref.h"

namespace penstock::py {
namespace {

constexpr std::size_t kLongestKept = 256;

std::string_view line_of(const http1::Field& field) noexcept {
    const char* end = field.value.data() + field.value.size();
    return {field.name.data(), static_cast<std::size_t>(end - field.name.data())};
}

// Whoever can dump the process must not find what a client has authenticated itself by an hour ago.
bool is_secret(std::string_view name) noexcept {
    return equals_ignoring_case(name, "cookie") || equals_ignoring_case(name, "authorization") ||
           equals_ignoring_case(name, "proxy-authorization");
}

std::size_t hash_of(std::string_view line) noexcept {
    constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;
    std::uint64_t hash = line.size();
    const char* at = line.data();
    std::size_t left = line.size();
    for (; left >= sizeof hash; at += sizeof hash, left -= sizeof hash) {
        std::uint64_t word;
        std::memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * kFactor;
        hash ^= hash >> 29U;
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, at, left);
    hash = (hash ^ rest) * kFactor;
    return static_cast<std::size_t>(hash >> 32U);
}

PyObject* new_pair(const http1::Field& field) noexcept {
    Ref<> name = Ref<>::steal(lower_case_bytes(field.name));
    Ref<> value = Ref<>::steal(bytes_of(field.value));
    return name && value ? PyTuple_Pack(2, name.get(), value.get()) : nullptr;
}

}  // namespace

FieldCache::~FieldCache() {
    for (Entry& entry : entries_) Py_CLEAR(entry.pair);
}

PyObject* FieldCache::pair_of(const http1::Field& field) noexcept {
    std::string_view line = line_of(field);
    if (line.size() > kLongestKept) return new_pair(field);
    Entry& entry = entries_[hash_of(line) % entries_.size()];
    if (entry.line == line && entry.pair != nullptr) [[likely]]
        return Py_NewRef(entry.pair);
    PyObject* made = new_pair(field);
    if (made == nullptr || is_secret(field.name)) return made;
    try {
        entry.line.assign(line);
    } catch (const std::bad_alloc&) {
        entry.line.clear();
        return made;
    }
    Py_XSETREF(entry.pair, Py_NewRef(made));
    return made;
}

}  // namespace penstock::py
