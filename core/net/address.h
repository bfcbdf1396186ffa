// A socket address of any family, by value. Parsing takes literals and numeric ports only: it
// never asks a name service, so it may be called on the loop's thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

class Address {
public:
    Address() noexcept = default;
    // Copies what the kernel or a resolver wrote; bytes past the largest family's are cut.
    Address(const sockaddr* address, socklen_t size) noexcept;

    // "192.0.2.1", "2001:db8::1" or "fe80::1%eth0"; nothing for a name.
    static std::optional<Address> parse(std::string_view host, std::uint16_t port) noexcept;
    // As above, the port in digits.
    static std::optional<Address> parse(std::string_view host, std::string_view port) noexcept;
    static std::optional<std::uint16_t> parse_port(std::string_view digits) noexcept;

    // Of the socket's own end, or of the other; an address of no family where there is none.
    static Address local_of(int fd) noexcept;
    static Address peer_of(int fd) noexcept;

    const sockaddr* get() const noexcept { return &storage_.any; }
    socklen_t size() const noexcept { return size_; }
    int family() const noexcept { return size_ == 0 ? AF_UNSPEC : storage_.any.sa_family; }

    std::uint16_t port() const noexcept;       // 0 for a family without ports
    std::string host() const;                  // numeric; the path of a unix socket
    std::uint32_t flow_info() const noexcept;  // IPv6 only, else 0
    std::uint32_t scope_id() const noexcept;   // IPv6 only, else 0
    std::string to_string() const;             // "host:port", "[host]:port" or the path

    friend bool operator==(const Address& a, const Address& b) noexcept;

private:
    union Storage {
        sockaddr any;
        sockaddr_in ip4;
        sockaddr_in6 ip6;
        sockaddr_un local;
        sockaddr_storage largest;
    };

    Storage storage_{.largest = {}};
    socklen_t size_ = 0;
};

}  // namespace penstock
