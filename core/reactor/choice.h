// The one place that decides what comes next where several things could: which ready entry,
// which due timer, which completion. First in, first out in production. A deterministic test
// mode gives an Oracle of its own and so drives the very loop that runs in production.
#pragma once

#include <cstddef>

namespace penstock {

enum class Choice { kReady, kTimer, kCompletion };

class Oracle {
public:
    virtual ~Oracle() = default;
    // An index below `count`, which is at least 2.
    virtual std::size_t choose(Choice what, std::size_t count) noexcept = 0;
};

class Chooser {
public:
    void consult(Oracle* oracle) noexcept { oracle_ = oracle; }  // borrowed; nullptr is FIFO

    bool is_fifo() const noexcept { return oracle_ == nullptr; }
    std::size_t next(Choice what, std::size_t count) const noexcept {
        if (oracle_ == nullptr || count < 2) [[likely]]
            return 0;
        return oracle_->choose(what, count);
    }

private:
    Oracle* oracle_ = nullptr;
};

}  // namespace penstock
