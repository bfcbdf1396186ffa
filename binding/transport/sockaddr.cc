#include "transport/sockaddr.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

namespace penstock::py {
namespace {

// The text of a str; nothing, and no exception, for all else.
std::optional<std::string_view> text_of(PyObject* object) noexcept {
    if (!PyUnicode_CheckExact(object) || !PyUnicode_IS_ASCII(object)) return std::nullopt;
    return std::string_view(static_cast<const char*>(PyUnicode_DATA(object)),
                            static_cast<std::size_t>(PyUnicode_GET_LENGTH(object)));
}

std::optional<std::uint32_t> number_of(PyObject* object, std::uint32_t most) noexcept {
    if (!PyLong_CheckExact(object)) return std::nullopt;
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0 || value < 0 || value > most) return std::nullopt;
    return static_cast<std::uint32_t>(value);
}

std::optional<Address> ip4_of(std::string_view host, std::uint16_t port) noexcept {
    if (host.empty()) host = "0.0.0.0";
    if (host == "<broadcast>") host = "255.255.255.255";
    auto address = Address::parse(host, port);
    if (address && address->family() != AF_INET) return std::nullopt;
    return address;
}

std::optional<Address> ip6_of(std::string_view host, std::uint16_t port, std::uint32_t flow_info,
                              std::uint32_t scope_id) noexcept {
    if (host.empty()) host = "::";
    if (host.find('%') != host.npos) return std::nullopt;
    auto address = Address::parse(host, port);
    if (!address || address->family() != AF_INET6) return std::nullopt;
    sockaddr_in6 ip6;
    std::memcpy(&ip6, address->get(), sizeof ip6);
    ip6.sin6_flowinfo = htonl(flow_info);
    ip6.sin6_scope_id = scope_id;
    return Address(reinterpret_cast<const sockaddr*>(&ip6), sizeof ip6);
}

// A path, or, behind a zero byte, a name in the abstract namespace.
std::optional<Address> local_of(std::string_view path) noexcept {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    bool is_abstract = path.empty() || path[0] == '\0';
    if (path.size() >= sizeof local.sun_path + is_abstract) return std::nullopt;
    if (!is_abstract && path.find('\0') != path.npos) return std::nullopt;
    std::copy(path.begin(), path.end(), local.sun_path);
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    return Address(reinterpret_cast<const sockaddr*>(&local), size);
}

PyObject* make_sockaddr_object(const Address& address) {
    switch (address.family()) {
        case AF_UNSPEC: Py_RETURN_NONE;
        case AF_INET:
            return Py_BuildValue("(si)", address.host().c_str(), static_cast<int>(address.port()));
        case AF_INET6: {
            std::string host = address.host();
            host.resize(std::min(host.find('%'), host.size()));  // the scope has a place of its own
            return Py_BuildValue("(siII)", host.c_str(), static_cast<int>(address.port()),
                                 address.flow_info(), address.scope_id());
        }
        case AF_UNIX: {
            std::string path = address.host();
            auto size = static_cast<Py_ssize_t>(path.size());
            if (size > 0 && path[0] == '\0') return PyBytes_FromStringAndSize(path.data(), size);
            return PyUnicode_DecodeFSDefaultAndSize(path.data(), size);
        }
        default: {
            auto* data = reinterpret_cast<const char*>(address.get()) + offsetof(sockaddr, sa_data);
            return Py_BuildValue(
                "(iy#)", address.family(), data,
                static_cast<Py_ssize_t>(address.size() - offsetof(sockaddr, sa_data)));
        }
    }
}

}  // namespace

PyObject* sockaddr_object(const Address& address) noexcept {
    try {
        return make_sockaddr_object(address);
    } catch (
        const std::bad_alloc&) {  // the path of a unix socket is longer than a string's own room
        return PyErr_NoMemory();
    }
}

std::optional<Address> sockaddr_of(PyObject* object, int family) noexcept {
    if (family == AF_UNIX) {
        if (PyBytes_CheckExact(object))
            return local_of(
                {PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object))});
        auto path = text_of(object);
        return path ? local_of(*path) : std::nullopt;
    }
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) < 2) return std::nullopt;
    auto host = text_of(PyTuple_GET_ITEM(object, 0));
    auto port = number_of(PyTuple_GET_ITEM(object, 1), 0xffff);
    if (!host || !port) return std::nullopt;
    Py_ssize_t size = PyTuple_GET_SIZE(object);
    if (family == AF_INET && size == 2) return ip4_of(*host, static_cast<std::uint16_t>(*port));
    if (family != AF_INET6 || size > 4) return std::nullopt;
    auto flow_info = size > 2 ? number_of(PyTuple_GET_ITEM(object, 2), 0xfffff) : 0;
    auto scope_id = size > 3 ? number_of(PyTuple_GET_ITEM(object, 3), 0xffffffff) : 0;
    if (!flow_info || !scope_id) return std::nullopt;
    return ip6_of(*host, static_cast<std::uint16_t>(*port), *flow_info, *scope_id);
}

}  // namespace penstock::py
