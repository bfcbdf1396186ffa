// What has to happen around fork(2). A child shares its parent's open files, so what it did to
// an epoll, an eventfd or a socket pair the parent would feel; and it has one thread only, so a
// mutex that another one held is never released there.
//
// An AtFork lives as a member of the object that it acts for, declared last: it may be called
// from the end of its constructor to the beginning of its destructor, by whichever thread forks.
#pragma once

#include <sys/types.h>

#include <functional>

#include "base/unique_fd.h"

namespace penstock {

class AtFork {
public:
    using Action = std::function<void()>;

    // `in_child` runs in the child, before fork() returns there: it allocates nothing and
    // waits for nobody. `before` runs in the parent, before every fork(), and may wait for
    // threads of ours; neither makes or destroys an AtFork.
    explicit AtFork(Action in_child, Action before = nullptr);
    ~AtFork();
    AtFork(const AtFork&) = delete;
    AtFork& operator=(const AtFork&) = delete;

    struct Registry;

private:
    Action in_child_;
    Action before_;
    AtFork* next_ = nullptr;
    AtFork* previous_ = nullptr;
};

// How many forks lie between this process and the one that made the first AtFork: what was noted
// in the parent differs from it in the child.
unsigned fork_count() noexcept;

// Which open file a number means, as far as fstat(2) tells: eventfds and their like are all one.
struct FileId {
    dev_t device = 0;
    ino_t inode = 0;

    static FileId of(int fd) noexcept;
    bool operator==(const FileId&) const = default;
};

// Lets the number of `file`, which meant `id`, mean the file of `fresh` from now on, and tells its
// id. Where `fresh` is none, for the call that was to make it has failed, `file` is closed: what
// it shares with the parent must not be used. A number that means something else is given up and
// left alone: a daemon has closed all that it inherited, and forks again.
void replace_file(UniqueFd& file, FileId& id, UniqueFd fresh) noexcept;

}  // namespace penstock
