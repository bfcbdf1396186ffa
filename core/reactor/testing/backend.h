// The backend that tests of what stands on one use: PENSTOCK_BACKEND's, so that ./dev test can run
// them on each.
#pragma once

#include <cstdlib>
#include <memory>

#include "reactor/selection.h"

namespace penstock::testing {

inline std::unique_ptr<Backend> make_backend() {
    return select_backend(std::getenv("PENSTOCK_BACKEND")).backend;
}

}  // namespace penstock::testing
