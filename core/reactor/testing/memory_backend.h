// A Backend without a kernel, for tests: a test says which fds become ready, and the next wait
// collects them. Waiting never takes time; what it was asked to wait is recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "reactor/backend.h"

namespace penstock::testing {

class MemoryBackend final : public Backend {
public:
    std::string_view name() const noexcept override { return "memory"; }

    int watch(int fd, Ready interest, Watcher& watcher) noexcept override {
        if (interest == Ready::kNone) {
            if (slots_[fd].watcher == &watcher) forget(fd);
            return 0;
        }
        Slot& slot = slots_[fd];
        if (slot.watcher != &watcher) ++slot.generation;
        slot.watcher = &watcher;
        slot.interest = interest;
        return 0;
    }

    int watch_borrowed(int fd, Ready interest, Watcher& watcher) noexcept override {
        return watch(fd, interest, watcher);
    }

    bool keep_watching(int fd, Ready interest, const Watcher& watcher) noexcept override {
        return slots_[fd].watcher == &watcher && slots_[fd].interest == interest;
    }

    void forget(int fd) noexcept override {
        Slot& slot = slots_[fd];
        if (slot.watcher == nullptr) return;
        slot = {nullptr, Ready::kNone, slot.generation + 1};
    }

    std::size_t watched() const noexcept override {
        std::size_t count = 0;
        for (const auto& [fd, slot] : slots_) count += slot.watcher != nullptr;
        return count;
    }

    int wait(Duration timeout) noexcept override {
        timeouts.push_back(timeout);
        if (on_wait) on_wait(timeout);
        if (error != 0) return -error;
        collected_.clear();
        for (auto [fd, events] : std::exchange(coming_, {})) {
            const Slot& slot = slots_[fd];
            Ready seen = events & (slot.interest | Ready::kError);
            if (slot.watcher != nullptr && seen != Ready::kNone)
                collected_.push_back({fd, slot.generation, seen});
        }
        return static_cast<int>(collected_.size());
    }

    void deliver(std::size_t index) noexcept override {
        Event event = collected_[index];
        const Slot& slot = slots_[event.fd];
        if (slot.watcher != nullptr && slot.generation == event.generation)
            slot.watcher->on_ready(event.events);
    }

    void make_ready(int fd, Ready events) { coming_.emplace_back(fd, events); }
    Ready interest(int fd) { return slots_[fd].interest; }

    const char* failed_call() const noexcept override { return "wait"; }

    int error = 0;  // what every wait fails with
    std::vector<Duration> timeouts;
    std::function<void(Duration)> on_wait;

private:
    struct Slot {
        Watcher* watcher = nullptr;
        Ready interest = Ready::kNone;
        std::uint32_t generation = 0;
    };
    struct Event {
        int fd;
        std::uint32_t generation;
        Ready events;
    };

    std::map<int, Slot> slots_;
    std::vector<std::pair<int, Ready>> coming_;
    std::vector<Event> collected_;
};

}  // namespace penstock::testing
