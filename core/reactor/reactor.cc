#include "reactor/reactor.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <numeric>
#include <span>
#include <system_error>

namespace penstock {

Reactor::Reactor(std::unique_ptr<Backend> backend)
    : backend_(std::move(backend)), outbox_(backend_->outbox()) {
    completed_.reserve(kMostAnEvent);
    int error = watch_own(wakeup_.fd(), wakeup_);
    if (error == 0) return;
    if (backend_->failed_call() == nullptr) throw std::bad_alloc();
    throw std::system_error(-error, std::generic_category(), backend_->failed_call());
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

namespace {

// In the order that the chooser says.
template <class Element>
void order(std::span<Element> elements, const Chooser& chooser, Choice what) noexcept {
    for (; elements.size() > 1; elements = elements.subspan(1)) {
        auto chosen =
            elements.begin() + static_cast<std::ptrdiff_t>(chooser.next(what, elements.size()));
        std::rotate(elements.begin(), chosen, chosen + 1);
    }
}

}  // namespace

// False where memory is out: they then come as the kernel has put them.
bool Reactor::order_events(std::size_t count) noexcept {
    try {
        order_.resize(count);
    } catch (const std::bad_alloc&) {
        return false;
    }
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    order(std::span(order_), chooser_, Choice::kCompletion);
    return true;
}

// Where memory is out the rest stays, and is due in the next turn.
void Reactor::collect_due() noexcept {
    turn_time_ = now();
    std::size_t first = due_.size();
    try {
        while (!timers_.empty() && timers_.next() <= turn_time_ + shift_) {
            due_.push_back(timers_.front());
            timers_.pop();
        }
    } catch (const std::bad_alloc&) {
    }
    if (!chooser_.is_fifo()) [[unlikely]]
        order(std::span(due_).subspan(first), chooser_, Choice::kTimer);
}

Duration Reactor::time_to_next_timer() noexcept {
    if (timers_.empty()) return Duration::max();
    return std::max(timers_.next() - (now() + shift_), Duration::zero());
}

}  // namespace penstock
