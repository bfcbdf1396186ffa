// For tests: while one lives, epoll_ctl(2) of this thread answers with `error` to whatever would
// change the set, as a kernel does that is out of memory (ENOMEM) or at the user's limit of
// watches (ENOSPC).
#pragma once

namespace penstock::testing {

class NoRoom {
public:
    explicit NoRoom(int error) noexcept;
    ~NoRoom();
    NoRoom(const NoRoom&) = delete;
    NoRoom& operator=(const NoRoom&) = delete;

    int refused() const noexcept;  // how often
};

}  // namespace penstock::testing
