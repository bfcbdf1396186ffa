// Questions to the name service and their answers, as values: getaddrinfo(3) and getnameinfo(3).
// Answering may block for minutes; what needs no name service at all can be told apart.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/address.h"

namespace penstock {

// How a lookup ended: 0, or one of getaddrinfo's EAI_ codes; with EAI_SYSTEM, errno says why.
struct LookupError {
    int code = 0;
    int system_error = 0;
    explicit operator bool() const noexcept { return code != 0; }
    const char* text() const noexcept;  // until the thread's next call of its kind
};

struct AddressQuery {
    std::optional<std::string> host;
    std::optional<std::string> service;  // a name, or a port in digits
    int family = 0;
    int type = 0;
    int protocol = 0;
    int flags = 0;
};

struct ResolvedAddress {
    int family = 0;
    int type = 0;
    int protocol = 0;
    std::string canonical_name;
    Address address;
};

struct AddressAnswer {
    LookupError error;
    std::vector<ResolvedAddress> addresses;
};

struct NameQuery {
    Address address;
    int flags = 0;
};

struct NameAnswer {
    LookupError error;
    std::string host;
    std::string service;
};

// Without memory the answer is EAI_MEMORY.
AddressAnswer look_up(const AddressQuery& query) noexcept;
NameAnswer look_up(const NameQuery& query);

// The answer where host and service are literals, numbers or absent: no file is read, no packet
// sent. Nothing where a name has to be looked up.
std::optional<AddressAnswer> look_up_literal(const AddressQuery& query);
// The answer where both are wanted in digits.
std::optional<NameAnswer> look_up_numeric(const NameQuery& query);

}  // namespace penstock
