// A loop's lookups, on threads of their own: getaddrinfo(3) blocks, for minutes where a name
// server is silent. At most kMostThreads of them run at once and the rest wait in order; nothing
// else uses the threads, so slow names hold up only other names.
//
// Who owns what. A Lookup belongs to the caller until submit(), to the queue or to the one thread
// that asks until it is answered, and then to whoever `post` hands it to. It is destroyed on
// any of these threads, so it holds nothing that belongs to the loop's. `post` runs on a thread
// of the pool, and never once the Resolver's destructor has begun to return; it does not throw.
//
// Threads start when there is work and end after kIdle without. Only one that has ended is ever
// joined: one that is stuck in a lookup must not hold up the end of the program. They own the
// state that they share with the Resolver, and drop an answer that nobody waits for any more.
//
// Before a fork() the threads that have nothing to do end, for CPython from 3.12 on warns where a
// process with threads forks. The child has none of the others either, and its copy of the shared
// state may be locked for ever: it leaves that alone and starts anew.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>

#include "base/fork.h"

namespace penstock {

class Lookup {
public:
    virtual ~Lookup() = default;
    virtual void ask() noexcept = 0;  // on a thread of the pool; blocks
};

class Resolver {
public:
    using Post = std::function<void(std::unique_ptr<Lookup>)>;

    static constexpr std::size_t kMostThreads = 8;
    static constexpr std::chrono::milliseconds kIdle{10'000};

    explicit Resolver(Post post, std::chrono::milliseconds idle = kIdle);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    // 0, or -errno: EAGAIN where there is no thread to ask and none could be started, ENOMEM.
    int submit(std::unique_ptr<Lookup> lookup) noexcept;
    std::size_t threads() const;

private:
    struct Shared;
    struct Worker;
    static void serve(std::shared_ptr<Shared> shared, std::list<Worker>::iterator self) noexcept;
    static int start_thread(const std::shared_ptr<Shared>& shared) noexcept;
    void leave_parent_behind();  // throws std::bad_alloc
    void abandon() noexcept;
    void rest() noexcept;

    Post post_;
    std::chrono::milliseconds idle_;
    std::shared_ptr<Shared> shared_;
    bool is_parents_ = false;  // shared_ is: this is a child of fork()
    AtFork at_fork_{[this] { is_parents_ = true; }, [this] { rest(); }};
};

}  // namespace penstock
