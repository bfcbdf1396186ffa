#include "net/resolver.h"

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace penstock {

struct Resolver::Shared {
    std::mutex mutex;  // guards all below
    std::condition_variable has_work;
    std::deque<std::unique_ptr<Lookup>> waiting;
    Post post;  // empty once the Resolver is gone
    std::chrono::milliseconds idle_time;
    std::size_t threads = 0;
    std::size_t idle = 0;
};

Resolver::Resolver(Post post, std::chrono::milliseconds idle)
    : post_(std::move(post)),
      idle_(idle),
      process_(::getpid()),
      shared_(std::make_shared<Shared>()) {
    shared_->post = post_;
    shared_->idle_time = idle_;
}

Resolver::~Resolver() {
    leave_parent_behind();
    std::deque<std::unique_ptr<Lookup>> dropped;
    {
        std::lock_guard guard(shared_->mutex);
        shared_->post = nullptr;
        dropped.swap(shared_->waiting);
    }
    shared_->has_work.notify_all();
}

void Resolver::leave_parent_behind() {
    if (::getpid() == process_) return;
    // Its mutex may be held by a thread that does not exist here: it is never touched again.
    static_cast<void>(new std::shared_ptr<Shared>(std::move(shared_)));
    process_ = ::getpid();
    shared_ = std::make_shared<Shared>();
    shared_->post = post_;
    shared_->idle_time = idle_;
}

int Resolver::submit(std::unique_ptr<Lookup> lookup) {
    leave_parent_behind();
    std::lock_guard guard(shared_->mutex);
    if (shared_->idle <= shared_->waiting.size() && shared_->threads < kMostThreads) {
        if (start_thread(shared_))
            ++shared_->threads;
        else if (shared_->threads == 0)
            return -EAGAIN;
    }
    shared_->waiting.push_back(std::move(lookup));
    shared_->has_work.notify_one();
    return 0;
}

std::size_t Resolver::threads() const {
    if (::getpid() != process_) return 0;
    std::lock_guard guard(shared_->mutex);
    return shared_->threads;
}

// The thread inherits a mask that blocks every signal: handlers belong to the program's threads.
bool Resolver::start_thread(const std::shared_ptr<Shared>& shared) noexcept {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool has_started = true;
    try {
        std::thread(serve, shared).detach();
    } catch (const std::system_error&) {
        has_started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return has_started;
}

void Resolver::serve(std::shared_ptr<Shared> shared) noexcept {
    std::unique_lock lock(shared->mutex);
    while (shared->post) {
        if (shared->waiting.empty()) {
            ++shared->idle;
            bool has_news = shared->has_work.wait_for(
                lock, shared->idle_time, [&] { return !shared->waiting.empty() || !shared->post; });
            --shared->idle;
            if (!has_news) break;
            continue;
        }
        auto lookup = std::move(shared->waiting.front());
        shared->waiting.pop_front();
        lock.unlock();
        lookup->ask();
        lock.lock();
        // Under the lock: the Resolver's destructor waits for it, so `post` finds its loop.
        if (shared->post) shared->post(std::move(lookup));
    }
    --shared->threads;
}

}  // namespace penstock
