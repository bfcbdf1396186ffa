// Words and a host for tests: a word is a function, and the host runs it.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "reactor/backend.h"
#include "reactor/word.h"

namespace penstock::testing {

// Functions that live as long as the script, each with its word.
class Script {
public:
    Word add(std::function<void()> body) {
        bodies_.push_back(std::move(body));
        return reinterpret_cast<Word>(&bodies_.back());
    }
    static void run(Word word) { (*reinterpret_cast<std::function<void()>*>(word))(); }

private:
    std::deque<std::function<void()>> bodies_;  // a deque keeps its elements in place
};

struct Host {
    bool stops = false;
    bool is_interrupted = false;
    bool has_failed = false;

    void run(Word word) { Script::run(word); }
    bool stopping() const { return stops; }
    bool interrupted() const { return is_interrupted; }
    Duration shift = Duration::zero();
    Duration clock_shift() const { return shift; }
    bool failed() const { return has_failed; }
    void wait_failed(int error) { wait_error = error; }
    int wait_error = 0;
    int wait(Backend& backend, Duration timeout) { return backend.wait(timeout); }
};

struct CountingWatcher final : Watcher {
    void on_ready(Ready events) noexcept override {
        ++count;
        last = events;
        if (then) then(events);
    }
    int count = 0;
    Ready last = Ready::kNone;
    std::function<void(Ready)> then;
};

}  // namespace penstock::testing
