#include "net/lookup.h"

#include <netdb.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

namespace penstock {
namespace {

LookupError error_of(int code) noexcept { return {code, code == EAI_SYSTEM ? errno : 0}; }

AddressAnswer ask(const AddressQuery& query, int flags) {
    addrinfo hints{};
    hints.ai_family = query.family;
    hints.ai_socktype = query.type;
    hints.ai_protocol = query.protocol;
    hints.ai_flags = flags;
    addrinfo* list = nullptr;
    AddressAnswer answer;
    answer.error =
        error_of(::getaddrinfo(query.host ? query.host->c_str() : nullptr,
                               query.service ? query.service->c_str() : nullptr, &hints, &list));
    if (answer.error) return answer;
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
    for (const addrinfo* found = list; found != nullptr; found = found->ai_next)
        answer.addresses.push_back({found->ai_family, found->ai_socktype, found->ai_protocol,
                                    found->ai_canonname != nullptr ? found->ai_canonname : "",
                                    Address(found->ai_addr, found->ai_addrlen)});
    return answer;
}

bool is_number(const std::string& text) noexcept {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

const char* LookupError::text() const noexcept {
    return code == EAI_SYSTEM ? std::strerror(system_error) : ::gai_strerror(code);
}

AddressAnswer look_up(const AddressQuery& query) noexcept {
    try {
        return ask(query, query.flags);
    } catch (const std::bad_alloc&) {
        return {{EAI_MEMORY, 0}, {}};
    }
}

std::optional<AddressAnswer> look_up_literal(const AddressQuery& query) {
    if (query.service && !is_number(*query.service)) return std::nullopt;
    AddressAnswer answer = ask(query, query.flags | AI_NUMERICHOST);
    // The host is a name, unless the caller has ruled names out.
    if (answer.error.code == EAI_NONAME && query.host && !(query.flags & AI_NUMERICHOST))
        return std::nullopt;
    return answer;
}

NameAnswer look_up(const NameQuery& query) {
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> service{};
    int code = ::getnameinfo(query.address.get(), query.address.size(), host.data(), host.size(),
                             service.data(), service.size(), query.flags);
    return {error_of(code), host.data(), service.data()};
}

std::optional<NameAnswer> look_up_numeric(const NameQuery& query) {
    constexpr int kNumeric = NI_NUMERICHOST | NI_NUMERICSERV;
    if ((query.flags & kNumeric) != kNumeric) return std::nullopt;
    return look_up(query);
}

}  // namespace penstock
