#include "reactor/wakeup.h"

#include "base/testing/bench.h"
#include "reactor/mailbox.h"

namespace penstock {
namespace {

BENCH("wakeup: signal where nobody waits") {
    Wakeup wakeup;
    bench.measure([&] { wakeup.signal(); });
}

BENCH("wakeup: prepare, signal, done") {
    Wakeup wakeup;
    bench.measure([&] {
        wakeup.prepare();
        wakeup.signal();
        wakeup.done();
        wakeup.on_ready(Ready::kRead);
    });
}

BENCH("mailbox: post and collect of 10") {
    Mailbox mailbox;
    Letter letters[10];
    bench.measure([&] {
        for (Letter& letter : letters) mailbox.post(letter);
        Letters collected = mailbox.collect();
        while (!collected.empty()) bench::keep(collected.pop());
    });
}

}  // namespace
}  // namespace penstock
