#include "net/resolver.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/testing/no_memory.h"
#include "net/lookup.h"
#include "reactor/reactor.h"
#include "reactor/testing/backend.h"
#include "reactor/testing/script.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;

// A gate that opens once: lookups that hang until the test lets them.
class Gate {
public:
    void open() {
        std::lock_guard guard(mutex_);
        is_open_ = true;
        changed_.notify_all();
    }
    void pass() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return is_open_; });
    }
    void await_waiting(int count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return waiting_ >= count; });
    }
    int waiting() {
        std::lock_guard guard(mutex_);
        return waiting_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int waiting_ = 0;
    bool is_open_ = false;
};

struct Question final : Lookup {
    explicit Question(std::function<void()> b) : body(std::move(b)) {}
    ~Question() override {
        if (destroyed != nullptr) ++*destroyed;
    }
    void ask() noexcept override {
        body();
        answer = 42;  // plain memory, handed from thread to thread
    }
    std::function<void()> body;
    std::atomic<int>* destroyed = nullptr;
    int answer = 0;
    Letter letter;
};

// Answers as they come, collected by the test's thread.
class Answers {
public:
    Resolver::Post post() {
        return [this](std::unique_ptr<Lookup> lookup) {
            std::lock_guard guard(mutex_);
            answers_.push_back(std::move(lookup));
            changed_.notify_all();
        };
    }
    bool await(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return answers_.size() >= count; });
    }
    std::size_t count() {
        std::lock_guard guard(mutex_);
        return answers_.size();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::unique_ptr<Lookup>> answers_;
};

std::unique_ptr<Question> question(std::function<void()> body = [] {}) {
    return std::make_unique<Question>(std::move(body));
}

void await_no_threads(const Resolver& resolver) {
    for (int i = 0; i < 2000 && resolver.threads() > 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(resolver.threads(), 0u);
}

TEST(Resolver, StartsThreadsWhenThereIsWorkAndNoMoreThanItMay) {
    Gate gate;
    Answers answers;
    Resolver resolver(answers.post(), 1ms);
    EXPECT_EQ(resolver.threads(), 0u);
    for (int i = 0; i < 40; ++i) ASSERT_EQ(resolver.submit(question([&] { gate.pass(); })), 0);
    gate.await_waiting(static_cast<int>(Resolver::kMostThreads));
    EXPECT_EQ(resolver.threads(), Resolver::kMostThreads);
    EXPECT_EQ(gate.waiting(), static_cast<int>(Resolver::kMostThreads));
    gate.open();
    EXPECT_TRUE(answers.await(40));
    await_no_threads(resolver);
    ASSERT_EQ(resolver.submit(question()), 0);  // and again from none
    EXPECT_TRUE(answers.await(41));
}

TEST(Resolver, AnIdleThreadIsReused) {
    Answers answers;
    Resolver resolver(answers.post());
    for (std::size_t i = 1; i <= 20; ++i) {
        ASSERT_EQ(resolver.submit(question()), 0);
        ASSERT_TRUE(answers.await(i));
    }
    // The one that has posted may not be waiting again yet when the next question comes.
    EXPECT_LE(resolver.threads(), 3u);
}

TEST(Resolver, SignalsGoToOthers) {
    Answers answers;
    std::atomic<int> blocked = 0;
    Resolver resolver(answers.post());
    ASSERT_EQ(resolver.submit(question([&] {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        for (int number : {SIGINT, SIGTERM, SIGCHLD, SIGUSR1})
            blocked += sigismember(&mask, number);
    })),
              0);
    ASSERT_TRUE(answers.await(1));
    EXPECT_EQ(blocked, 4);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    EXPECT_FALSE(sigismember(&mask, SIGINT));
}

TEST(Resolver, GoneBeforeTheAnswerItIsNotPosted) {
    auto gate = std::make_shared<Gate>();
    std::atomic<int> posted = 0, destroyed = 0;
    {
        Resolver resolver([&](std::unique_ptr<Lookup>) { ++posted; });
        for (int i = 0; i < 10; ++i) {
            auto one = question([gate] { gate->pass(); });
            one->destroyed = &destroyed;
            ASSERT_EQ(resolver.submit(std::move(one)), 0);
        }
        gate->await_waiting(8);
    }  // does not wait for the eight that hang
    EXPECT_EQ(destroyed, 2);
    gate->open();
    while (destroyed < 10) std::this_thread::yield();
    EXPECT_EQ(posted, 0);
}

TEST(Resolver, AnswersReachTheLoop) {
    Reactor reactor(testing::make_backend());
    testing::Host host;
    std::vector<std::unique_ptr<Lookup>> received;
    struct Loop {
        Reactor& reactor;
        testing::Host& host;
        int left = 200;
        int sum = 0;
        void run(Word word) {
            std::unique_ptr<Question> answered(reinterpret_cast<Question*>(word));
            sum += answered->answer;
            if (--left == 0) host.stops = true;
        }
        bool stopping() const { return host.stops; }
        bool interrupted() const { return false; }
        bool failed() const { return false; }
        Duration clock_shift() const { return Duration::zero(); }
        int wait(Backend& backend, Duration timeout) { return backend.wait(timeout); }
        void wait_failed(int error) { FAIL() << error; }
    } loop{reactor, host};
    Resolver resolver([&](std::unique_ptr<Lookup> lookup) {
        auto* answered = static_cast<Question*>(lookup.release());
        answered->letter.word = reinterpret_cast<Word>(answered);
        reactor.post(answered->letter);
    });
    for (int i = 0; i < 200; ++i) ASSERT_EQ(resolver.submit(question()), 0);
    reactor.run(loop);
    EXPECT_EQ(loop.sum, 200 * 42);
}

TEST(Resolver, WithoutMemoryAQuestionIsRefused) {
    Answers answers;
    Resolver resolver(answers.post());
    for (std::size_t allowed = 0;; ++allowed) {
        auto asked = question();
        int error;
        std::size_t refused;
        {
            testing::NoMemory no_memory(allowed);
            error = resolver.submit(std::move(asked));
            refused = no_memory.refused();
        }
        if (refused == 0) {
            EXPECT_EQ(error, 0);
            break;
        }
        // Where no thread could be made but another one is there, that one answers.
        EXPECT_TRUE(error == -ENOMEM || error == -EAGAIN || (error == 0 && allowed > 0)) << error;
    }
}

TEST(Resolver, AChildStartsAnew) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "TSan does not follow threads of a forked child";
#endif
    Gate gate;
    Answers answers;
    Resolver resolver(answers.post());
    ASSERT_EQ(resolver.submit(question([&] { gate.pass(); })), 0);
    gate.await_waiting(1);
    pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        Answers in_child;
        bool is_empty = resolver.threads() == 0;
        bool is_answered = false;
        {
            std::atomic<bool> asked = false;
            resolver.submit(question([&] { asked = true; }));
            for (int i = 0; i < 10'000 && !asked; ++i) std::this_thread::sleep_for(1ms);
            is_answered = asked;
        }
        ::_exit(is_empty && is_answered ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    gate.open();
    EXPECT_TRUE(answers.await(1));
}

TEST(Resolver, ResolvesNames) {
    struct Real final : Lookup {
        void ask() noexcept override {
            answer = look_up(AddressQuery{.host = "localhost", .service = "80"});
        }
        AddressAnswer answer;
    };
    std::mutex mutex;
    std::condition_variable changed;
    std::unique_ptr<Real> done;
    Resolver resolver([&](std::unique_ptr<Lookup> lookup) {
        std::lock_guard guard(mutex);
        done.reset(static_cast<Real*>(lookup.release()));
        changed.notify_all();
    });
    ASSERT_EQ(resolver.submit(std::make_unique<Real>()), 0);
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, 20s, [&] { return done != nullptr; }));
    EXPECT_FALSE(done->answer.error);
    EXPECT_FALSE(done->answer.addresses.empty());
}

// CPython warns where a process with threads forks.
TEST(Resolver, HasNoIdleThreadAcrossAFork) {
    auto gate = std::make_shared<Gate>();
    Answers answers;
    Resolver resolver(answers.post(), std::chrono::hours(1));
    for (int i = 0; i < 4; ++i) ASSERT_EQ(resolver.submit(question()), 0);
    ASSERT_TRUE(answers.await(4));
    pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    EXPECT_EQ(resolver.threads(), 0u);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    ASSERT_EQ(resolver.submit(question([gate] { gate->pass(); })), 0);
    gate->await_waiting(1);
    child = ::fork();  // does not wait for who is busy
    if (child == 0) ::_exit(0);
    EXPECT_EQ(resolver.threads(), 1u);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    gate->open();
    EXPECT_TRUE(answers.await(5));
}

}  // namespace
}  // namespace penstock
