#include "transport/sockaddr.h"

#include <cstddef>
#include <string>

namespace penstock::py {

PyObject* sockaddr_object(const Address& address) noexcept {
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

}  // namespace penstock::py
