#include "reactor/reactor.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <system_error>

namespace penstock {

Reactor::Reactor(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {
    int error = watch_own(wakeup_.fd(), wakeup_);
    if (error != 0)
        throw std::system_error(-error, std::generic_category(), "watching the eventfd");
}

Reactor::~Reactor() { forget_own(wakeup_.fd()); }

int Reactor::watch_own(int fd, Watcher& watcher) noexcept {
    int error = backend_->watch(fd, Ready::kRead, watcher);
    if (error == 0) ++own_;
    return error;
}

void Reactor::forget_own(int fd) noexcept {
    std::size_t before = backend_->watched();
    backend_->forget(fd);
    if (backend_->watched() < before) --own_;
}

void Reactor::order_events(std::size_t count) {
    std::vector<std::size_t> left(count);
    for (std::size_t i = 0; i < count; ++i) left[i] = i;
    order_.clear();
    while (!left.empty()) {
        auto chosen = left.begin() +
                      static_cast<std::ptrdiff_t>(chooser_.next(Choice::kCompletion, left.size()));
        order_.push_back(*chosen);
        left.erase(chosen);
    }
}

// Where memory is out the rest stays, and is due in the next turn.
void Reactor::take_due(std::vector<Word>& due) noexcept {
    try {
        while (!timers_.empty() && timers_.next() <= turn_time_ + shift_) {
            due.push_back(timers_.front());
            timers_.pop();
        }
    } catch (const std::bad_alloc&) {
    }
}

void Reactor::collect_due() {
    turn_time_ = now();
    if (chooser_.is_fifo()) [[likely]] {
        take_due(due_);
        return;
    }
    std::vector<Word> due;
    take_due(due);
    while (!due.empty()) {
        auto chosen =
            due.begin() + static_cast<std::ptrdiff_t>(chooser_.next(Choice::kTimer, due.size()));
        due_.push_back(*chosen);
        due.erase(chosen);
    }
}

Duration Reactor::time_to_next_timer() noexcept {
    if (timers_.empty()) return Duration::max();
    return std::max(timers_.next() - (now() + shift_), Duration::zero());
}

}  // namespace penstock
