#include "reactor/selection.h"

#include <cerrno>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "reactor/epoll/epoll_backend.h"
#ifdef PENSTOCK_LIBURING
#include "reactor/uring/uring_backend.h"
#endif

namespace penstock {
namespace {

#ifdef PENSTOCK_LIBURING

std::string advice(int error) {
    if (error == ENOSYS) return "; this kernel has no io_uring, or a seccomp filter hides it";
    if (error == EINVAL) return "; it takes Linux 6.1";
    if (error != EPERM) return "";
    std::string setting = "0";
    std::ifstream("/proc/sys/kernel/io_uring_disabled") >> setting;
    if (setting != "0") return "; kernel.io_uring_disabled is " + setting;
    return "; a seccomp filter, as containers have, refuses it";
}

Selection try_uring() {
    try {
        return {std::make_unique<UringBackend>(), "PENSTOCK_BACKEND is set"};
    } catch (const std::system_error& error) {
        std::string reason = std::string("io_uring is refused: ") + error.what();
        return {nullptr, reason + advice(error.code().value())};
    }
}

#else

Selection try_uring() { return {nullptr, "penstock was built without liburing"}; }

#endif

}  // namespace

Selection select_backend(const char* wanted) {
    std::string_view name = wanted != nullptr ? wanted : "";
    Selection selection{nullptr, name.empty() ? "the default" : "PENSTOCK_BACKEND is set"};
    if (name == "uring")
        selection = try_uring();
    else if (!name.empty() && name != "epoll")
        return {nullptr, "there is no such backend"};
    if (selection.backend == nullptr) selection.backend = std::make_unique<EpollBackend>();
    return selection;
}

}  // namespace penstock
