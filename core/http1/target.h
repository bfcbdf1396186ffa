// What a request is for, in the four forms of RFC 9112, 3.2.
#pragma once

#include <optional>
#include <string_view>

namespace penstock::http1 {

struct TargetForm {
    std::string_view authority;  // of absolute-form and authority-form
};

// nullopt if `target`, of printable ASCII, has no form, or one that its method must not have.
std::optional<TargetForm> form_of(std::string_view target, std::string_view method) noexcept;

}  // namespace penstock::http1
