"""Numbers at the end of their range, and loops beside each other."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings

import penstock
import pytest


def test_deadlines_of_long_ago_keep_their_order(loop):
    called = []
    deadlines = [float("-inf"), -1e308, -9.3e9, -1, 0]
    for when in deadlines:
        loop.call_at(when, called.append, when)
    loop.call_at(float("nan"), called.append, None)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert [when for when in called if when is not None] == deadlines
    assert None in called


def test_deadlines_that_never_come(loop):
    handles = [loop.call_later(delay, pytest.fail) for delay in (1e308, float("inf"), 9.3e9)]
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    for handle in handles:
        handle.cancel()


def test_a_loop_that_outlives_the_one_that_ran_before(new_loop):
    has_begun = threading.Event()

    async def other():
        has_begun.set()
        await asyncio.sleep(0.1)

    def run_other():
        second = new_loop()
        second.run_until_complete(other())
        second.close()

    async def main():
        thread.start()
        has_begun.wait()

    thread = threading.Thread(target=run_other)
    first = new_loop()
    first.run_until_complete(main())
    first.close()
    del first
    gc.collect()
    thread.join()
    never_run = main()
    with pytest.raises(RuntimeError, match="no running event loop"):
        penstock._core.create_task(never_run)
    never_run.close()


@pytest.mark.asyncio_since(3, 12)
def test_the_current_task_among_eager_tasks_of_two_makes(new_loop):
    loop = new_loop()
    task_type = penstock.Task if isinstance(loop, penstock.Loop) else asyncio.Task
    if sys.version_info < (3, 12):
        pytest.skip("asyncio has no eager tasks yet")
    seen = []

    def look():
        seen.append(asyncio.current_task().get_name())

    async def inner():
        look()

    async def stock():
        look()
        task_type(inner(), loop=loop, eager_start=True, name="inner")
        look()

    async def main():
        asyncio.Task(stock(), loop=loop, eager_start=True, name="stock")
        look()

    async def outer():
        await loop.create_task(main(), name="main")

    loop.run_until_complete(outer())
    loop.close()
    assert seen == ["stock", "inner", "stock", "main"]


@pytest.mark.parametrize("waits", ["await asyncio.sleep(0.0005)", "time.sleep(0.0005)"])
def test_a_daemon_thread_with_a_loop_does_not_abort_the_exit(waits):
    program = f"""
import asyncio, penstock, threading, time

def run():
    async def main():
        while True:
            {waits}
            await asyncio.sleep(0)
    penstock.new_event_loop().run_until_complete(main())

class LateDestructor:
    def __del__(self, clock=time.monotonic):
        end = clock() + 0.05
        while clock() < end:
            pass

threading.Thread(target=run, daemon=True).start()
time.sleep(0.05)
late = LateDestructor()
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=20
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.penstock_only("asyncio's children take readers from their parents")
def test_a_child_that_withdraws_what_it_inherited_leaves_its_parent_hearing(new_loop):
    loop = new_loop()
    read_end, write_end = os.pipe()
    called = []

    def read():
        called.append(os.read(read_end, 1))
        loop.stop()

    def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            loop.remove_reader(read_end)
            os._exit(0)
        os.waitpid(child, 0)
        os.write(write_end, b"x")

    loop.add_reader(read_end, read)
    loop.call_soon(fork)
    loop.call_later(5, loop.stop)
    loop.run_forever()
    loop.close()
    os.close(read_end)
    os.close(write_end)
    assert called == [b"x"]


TOO_MANY = """
import asyncio, resource, socket, sys, penstock

async def main():
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    lines = [b"x"] * 8_000_000
    resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    try:
        transport.writelines(lines)
    except MemoryError:
        print("no memory")
    transport.abort()
    far.close()

penstock.run(main())
"""


@pytest.mark.memory
@pytest.mark.penstock_only("asyncio joins them")
def test_more_lines_than_memory_holds():
    done = subprocess.run([sys.executable, "-c", TOO_MANY], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no memory\n"), done.stderr


ONE_MORE = """
import asyncio, re, resource, sys
import penstock

new_loop, method = sys.argv[1:]
loop = penstock.new_event_loop() if new_loop == "penstock" else asyncio.SelectorEventLoop()
calls = 0

def call():
    global calls
    calls += 1

if method == "call_soon":
    schedule = lambda: loop.call_soon(call)
else:
    schedule = lambda: loop.call_later(0, call)

# The next but few make what holds them grow, and by more than is left then.
scheduled = 2**18 - 100
for _ in range(scheduled):
    schedule()
used = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), limits[1]))
try:
    for _ in range(100_000):
        schedule()
        scheduled += 1
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, limits)
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    loop.close()
    print("no memory", calls == scheduled)
"""


@pytest.mark.memory
@pytest.mark.parametrize("method", ["call_soon", "call_later"])
def test_more_callbacks_than_memory_holds(new_loop, method):
    name = "penstock" if new_loop is penstock.new_event_loop else "asyncio"
    arguments = [sys.executable, "-c", ONE_MORE, name, method]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no memory True\n"), done.stderr
