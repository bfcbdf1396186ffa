#include "net/channel.h"

#include <cerrno>
#include <utility>

#include "net/pipe.h"

namespace penstock {

Channel::~Channel() {
    if (is_gone_ != nullptr) *is_gone_ = true;
}

int Channel::watch(Ready interest) noexcept {
    if (interest == interest_) return 0;
    if (fd_ < 0) return -EBADF;
    int error = backend_.watch(fd_, interest, *this);
    if (error == 0) interest_ = interest;
    return error;
}

int Channel::move_to_duplicate() noexcept {
    if (owned_.is_open()) return 0;
    UniqueFd copy;
    int error = pipe::duplicate(fd_, copy);
    if (error != 0) return error;
    Ready interest = interest_;
    watch(Ready::kNone);
    owned_ = std::move(copy);
    fd_ = owned_.get();
    return watch(interest);
}

void Channel::forget() noexcept {
    watch(Ready::kNone);
    fd_ = -1;
}

void Channel::on_ready(Ready events) noexcept {
    bool is_gone = false;
    bool* outer = std::exchange(is_gone_, &is_gone);
    if (has(events, Ready::kRead) && is_reading()) observer_.on_readable();
    if (!is_gone && has(events, Ready::kWrite) && is_writing()) flush();
    if (!is_gone)
        is_gone_ = outer;
    else if (outer != nullptr)
        *outer = true;
}

}  // namespace penstock
