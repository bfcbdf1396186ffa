#include "net/resolver.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <deque>
#include <iterator>
#include <list>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "base/clock.h"

namespace penstock {

struct Resolver::Worker {
    std::jthread thread;
    pid_t id = 0;  // once it has ended
};

struct Resolver::Shared {
    std::mutex mutex;  // guards all below
    std::condition_variable has_work;
    std::deque<std::unique_ptr<Lookup>> waiting;
    Post post;  // empty once the Resolver is gone
    std::chrono::milliseconds idle_time;
    std::list<Worker> running;
    std::list<Worker> ended;  // as good as: joined as they are destroyed, which takes no time
    std::size_t idle = 0;
    std::size_t asking = 0;
    bool is_resting = false;  // who is idle ends
    std::condition_variable has_rested;
};

Resolver::Resolver(Post post, std::chrono::milliseconds idle)
    : post_(std::move(post)), idle_(idle), shared_(std::make_shared<Shared>()) {
    shared_->post = post_;
    shared_->idle_time = idle_;
}

Resolver::~Resolver() {
    if (is_parents_) {
        abandon();
        return;
    }
    std::deque<std::unique_ptr<Lookup>> dropped;
    {
        std::lock_guard guard(shared_->mutex);
        shared_->post = nullptr;
        dropped.swap(shared_->waiting);
        for (auto* threads : {&shared_->running, &shared_->ended})
            for (Worker& worker : *threads) worker.thread.detach();
    }
    shared_->has_work.notify_all();
}

// The mutex may be held by a thread that does not exist in a child: the state that the parent's
// threads share is never touched again, not even to be destroyed.
void Resolver::abandon() noexcept {
    alignas(std::shared_ptr<Shared>) std::byte never_destroyed[sizeof shared_];
    new (never_destroyed) std::shared_ptr<Shared>(std::move(shared_));
    is_parents_ = false;
}

void Resolver::leave_parent_behind() {
    if (!is_parents_) return;
    auto fresh = std::make_shared<Shared>();
    fresh->post = post_;
    fresh->idle_time = idle_;
    abandon();
    shared_ = std::move(fresh);
}

int Resolver::submit(std::unique_ptr<Lookup> lookup) noexcept {
    try {
        leave_parent_behind();
        std::list<Worker> ended;
        std::lock_guard guard(shared_->mutex);
        ended.swap(shared_->ended);
        shared_->waiting.push_back(std::move(lookup));
        int error = 0;
        if (shared_->idle < shared_->waiting.size() && shared_->running.size() < kMostThreads)
            error = start_thread(shared_);
        if (error != 0 && shared_->running.empty()) {
            shared_->waiting.pop_back();
            return error;
        }
        shared_->has_work.notify_one();
        return 0;
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
}

// Before a fork.
void Resolver::rest() noexcept {
    if (is_parents_) return;
    std::list<Worker> ended;
    {
        std::unique_lock lock(shared_->mutex);
        shared_->is_resting = true;
        shared_->has_work.notify_all();
        // Those that have only just been started are waited for as well.
        shared_->has_rested.wait(lock,
                                 [this] { return shared_->running.size() == shared_->asking; });
        shared_->is_resting = false;
        ended.swap(shared_->ended);
    }
    // A thread that can be joined counts as one of the process's for a moment longer.
    TimePoint patience = now() + std::chrono::milliseconds(100);
    for (Worker& worker : ended) {
        if (!worker.thread.joinable()) continue;  // the Resolver is being destroyed
        worker.thread.join();
        while (::syscall(SYS_tgkill, ::getpid(), worker.id, 0) == 0 && now() < patience)
            std::this_thread::yield();
    }
}

std::size_t Resolver::threads() const {
    if (is_parents_) return 0;
    std::lock_guard guard(shared_->mutex);
    return shared_->running.size();
}

// The thread inherits a mask that blocks every signal: handlers belong to the program's threads.
int Resolver::start_thread(const std::shared_ptr<Shared>& shared) noexcept {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    std::list<Worker> made;  // splicing needs no memory, and takes back nothing half done
    try {
        auto self = made.emplace(made.end());
        self->thread = std::jthread(serve, shared, self);
        shared->running.splice(shared->running.end(), made);
    } catch (const std::system_error&) {
        error = -EAGAIN;
    } catch (const std::bad_alloc&) {
        error = -ENOMEM;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return error;
}

void Resolver::serve(std::shared_ptr<Shared> shared, std::list<Worker>::iterator self) noexcept {
    std::unique_lock lock(shared->mutex);
    while (shared->post) {
        if (shared->waiting.empty()) {
            ++shared->idle;
            bool has_news = shared->has_work.wait_for(lock, shared->idle_time, [&] {
                return !shared->waiting.empty() || !shared->post || shared->is_resting;
            });
            --shared->idle;
            if (!has_news || (shared->is_resting && shared->waiting.empty())) break;
            continue;
        }
        auto lookup = std::move(shared->waiting.front());
        shared->waiting.pop_front();
        ++shared->asking;
        shared->has_rested.notify_all();
        lock.unlock();
        lookup->ask();
        lock.lock();
        --shared->asking;
        // Under the lock: the Resolver's destructor waits for it, so `post` finds its loop.
        if (shared->post) shared->post(std::move(lookup));
    }
    self->id = static_cast<pid_t>(::syscall(SYS_gettid));
    shared->ended.splice(shared->ended.end(), shared->running, self);
    shared->has_rested.notify_all();
}

}  // namespace penstock
