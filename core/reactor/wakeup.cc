#include "reactor/wakeup.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

namespace penstock {

Wakeup::Wakeup() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_.is_open()) throw std::system_error(errno, std::generic_category(), "eventfd");
    file_ = FileId::of(event_.get());
}

void Wakeup::signal() noexcept {
    if (!is_waiting_.exchange(false, std::memory_order_seq_cst)) return;
    // Otherwise it can fail only where the counter is full, and then the loop wakes anyway.
    while (::eventfd_write(event_.get(), 1) < 0 && errno == EINTR) {
    }
}

void Wakeup::leave_parent_behind() noexcept {
    replace_file(event_, file_, UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

void Wakeup::on_ready(Ready) noexcept {
    eventfd_t count;
    [[maybe_unused]] int result = ::eventfd_read(event_.get(), &count);
}

}  // namespace penstock
