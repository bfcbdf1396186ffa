#include "http1/target.h"

#include <cstddef>

#include "http1/authority.h"
#include "http1/same_word.h"

namespace penstock::http1 {
namespace {

std::size_t scheme_size(std::string_view target) noexcept {
    for (std::size_t size : {std::size_t{4}, std::size_t{5}}) {
        std::string_view scheme = target.substr(0, size);
        if (target.substr(scheme.size()).starts_with("://") &&
            (same_word(scheme, "http") || same_word(scheme, "https")))
            return size + 3;
    }
    return 0;
}

}  // namespace

std::optional<TargetForm> form_of(std::string_view target, std::string_view method) noexcept {
    if (method == "CONNECT") {
        if (!is_authority(target, Port::kRequired)) return std::nullopt;
        return TargetForm{target};
    }
    if (target.starts_with('/')) return TargetForm{};
    if (target == "*" && method == "OPTIONS") return TargetForm{};
    std::size_t scheme = scheme_size(target);
    if (scheme == 0) return std::nullopt;
    std::string_view authority = target.substr(scheme);
    authority = authority.substr(0, authority.find_first_of("/?"));
    if (authority.empty() || !is_authority(authority)) return std::nullopt;
    return TargetForm{authority};
}

}  // namespace penstock::http1
