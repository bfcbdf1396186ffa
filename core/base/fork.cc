#include "base/fork.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace penstock {
namespace {

std::atomic<unsigned> forks{0};

}  // namespace

struct AtFork::Registry {
    std::mutex mutex;  // held across every fork, so the child finds the list whole
    AtFork* first = nullptr;

    // Never destroyed: threads may fork while the process exits.
    static Registry& get() {
        static auto* registry = new Registry;
        [[maybe_unused]] static const int registered =
            ::pthread_atfork(before, in_parent, in_child);
        return *registry;
    }

    static void before() {
        Registry& registry = get();
        registry.mutex.lock();
        for (AtFork* each = registry.first; each != nullptr; each = each->next_)
            if (each->before_) each->before_();
    }
    static void in_parent() { get().mutex.unlock(); }
    static void in_child() {
        forks.fetch_add(1, std::memory_order_relaxed);
        Registry& registry = get();
        for (AtFork* each = registry.first; each != nullptr; each = each->next_) each->in_child_();
        registry.mutex.unlock();
    }
};

AtFork::AtFork(Action in_child, Action before)
    : in_child_(std::move(in_child)), before_(std::move(before)) {
    Registry& registry = Registry::get();
    std::lock_guard guard(registry.mutex);
    next_ = std::exchange(registry.first, this);
    if (next_ != nullptr) next_->previous_ = this;
}

AtFork::~AtFork() {
    Registry& registry = Registry::get();
    std::lock_guard guard(registry.mutex);
    if (next_ != nullptr) next_->previous_ = previous_;
    (previous_ != nullptr ? previous_->next_ : registry.first) = next_;
}

unsigned fork_count() noexcept { return forks.load(std::memory_order_relaxed); }

FileId FileId::of(int fd) noexcept {
    struct stat status;
    return ::fstat(fd, &status) == 0 ? FileId{status.st_dev, status.st_ino} : FileId{};
}

void replace_file(UniqueFd& file, FileId& id, UniqueFd fresh) noexcept {
    if (FileId::of(file.get()) != id) {
        static_cast<void>(file.release());
    } else if (!fresh.is_open() || ::dup3(fresh.get(), file.get(), O_CLOEXEC) < 0) {
        file.reset();
    } else {
        id = FileId::of(file.get());
    }
}

}  // namespace penstock
