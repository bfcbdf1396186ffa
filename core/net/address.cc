#include "net/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace penstock {
namespace {

// A copy that ends in a zero byte, as inet_pton wants it; empty where `text` is longer than any
// literal or holds a zero byte itself.
template <std::size_t N>
bool copy_literal(std::string_view text, std::array<char, N>& out) noexcept {
    if (text.empty() || text.size() >= N || text.find('\0') != text.npos) return false;
    std::copy(text.begin(), text.end(), out.begin());
    out[text.size()] = '\0';
    return true;
}

template <class Number>
bool parse_number(std::string_view digits, Number& out) noexcept {
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
}

// An interface by name or by number; 0 where there is none.
std::uint32_t parse_scope(std::string_view scope) noexcept {
    std::uint32_t number = 0;
    if (parse_number(scope, number)) return number;
    std::array<char, IF_NAMESIZE> name;
    return copy_literal(scope, name) ? ::if_nametoindex(name.data()) : 0;
}

}  // namespace

Address::Address(const sockaddr* address, socklen_t size) noexcept
    : size_(std::min<socklen_t>(size, sizeof storage_)) {
    if (size_ > 0) std::memcpy(&storage_, address, size_);
}

std::optional<std::uint16_t> Address::parse_port(std::string_view digits) noexcept {
    std::uint16_t port = 0;
    if (!parse_number(digits, port)) return std::nullopt;
    return port;
}

std::optional<Address> Address::parse(std::string_view host, std::string_view port) noexcept {
    auto number = parse_port(port);
    return number ? parse(host, *number) : std::nullopt;
}

std::optional<Address> Address::parse(std::string_view host, std::uint16_t port) noexcept {
    Address address;
    std::array<char, INET6_ADDRSTRLEN> literal;
    if (host.find(':') == host.npos) {
        sockaddr_in& ip4 = address.storage_.ip4;
        if (!copy_literal(host, literal) ||
            ::inet_pton(AF_INET, literal.data(), &ip4.sin_addr) != 1)
            return std::nullopt;
        ip4.sin_family = AF_INET;
        ip4.sin_port = htons(port);
        address.size_ = sizeof ip4;
        return address;
    }
    sockaddr_in6& ip6 = address.storage_.ip6;
    std::size_t percent = host.find('%');
    if (!copy_literal(host.substr(0, percent), literal) ||
        ::inet_pton(AF_INET6, literal.data(), &ip6.sin6_addr) != 1)
        return std::nullopt;
    if (percent != host.npos) {
        ip6.sin6_scope_id = parse_scope(host.substr(percent + 1));
        if (ip6.sin6_scope_id == 0) return std::nullopt;
    }
    ip6.sin6_family = AF_INET6;
    ip6.sin6_port = htons(port);
    address.size_ = sizeof ip6;
    return address;
}

Address Address::local_of(int fd) noexcept {
    Address address;
    socklen_t size = sizeof address.storage_;
    if (::getsockname(fd, &address.storage_.any, &size) == 0)
        address.size_ = std::min<socklen_t>(size, sizeof address.storage_);
    return address;
}

Address Address::peer_of(int fd) noexcept {
    Address address;
    socklen_t size = sizeof address.storage_;
    if (::getpeername(fd, &address.storage_.any, &size) == 0)
        address.size_ = std::min<socklen_t>(size, sizeof address.storage_);
    return address;
}

std::uint16_t Address::port() const noexcept {
    switch (family()) {
        case AF_INET: return ntohs(storage_.ip4.sin_port);
        case AF_INET6: return ntohs(storage_.ip6.sin6_port);
        default: return 0;
    }
}

std::uint32_t Address::flow_info() const noexcept {
    return family() == AF_INET6 ? ntohl(storage_.ip6.sin6_flowinfo) : 0;
}

std::uint32_t Address::scope_id() const noexcept {
    return family() == AF_INET6 ? storage_.ip6.sin6_scope_id : 0;
}

std::string Address::host() const {
    std::array<char, INET6_ADDRSTRLEN + 1 + IF_NAMESIZE> text{};
    switch (family()) {
        case AF_INET:
            ::inet_ntop(AF_INET, &storage_.ip4.sin_addr, text.data(), text.size());
            return text.data();
        case AF_INET6: {
            ::inet_ntop(AF_INET6, &storage_.ip6.sin6_addr, text.data(), text.size());
            std::string host = text.data();
            if (storage_.ip6.sin6_scope_id == 0) return host;
            std::array<char, IF_NAMESIZE> name{};
            if (::if_indextoname(storage_.ip6.sin6_scope_id, name.data()) != nullptr)
                return host + '%' + name.data();
            return host + '%' + std::to_string(storage_.ip6.sin6_scope_id);
        }
        case AF_UNIX: {
            if (size_ <= offsetof(sockaddr_un, sun_path)) return {};  // a socket without a name
            std::size_t length = size_ - offsetof(sockaddr_un, sun_path);
            const char* path = storage_.local.sun_path;
            // A name in the abstract namespace begins with a zero byte and fills its length.
            if (path[0] == '\0') return std::string(path, length);
            return std::string(path, ::strnlen(path, length));
        }
        default: return {};
    }
}

std::string Address::to_string() const {
    switch (family()) {
        case AF_INET: return host() + ':' + std::to_string(port());
        case AF_INET6: return '[' + host() + "]:" + std::to_string(port());
        default: return host();
    }
}

bool operator==(const Address& a, const Address& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
}

}  // namespace penstock
