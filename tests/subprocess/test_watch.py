"""How the loop hears of a child's end: many at once, other threads, no pidfds, child watchers."""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import penstock
import pytest

from .conftest import ends, python

below_314 = pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers are gone")


@pytest.fixture
def open_files():
    """Raises the limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 4096:
        if hard != resource.RLIM_INFINITY and hard < 4096:
            pytest.skip(f"needs 4,096 open files, the hard limit (ulimit -Hn) is {hard:,}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_five_hundred_at_once(way, open_files):
    pipe = asyncio.subprocess.PIPE

    async def one(number):
        cat = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
        started.append(cat)
        if len(started) == 500:
            all_run.set()
        await all_run.wait()
        output, _ = await cat.communicate(b"%d" % number)
        return int(output), cat.returncode

    started, all_run = [], asyncio.Event()
    outcomes = await asyncio.gather(*map(one, range(500)))
    assert outcomes == [(number, 0) for number in range(500)]
    assert len({cat.pid for cat in started}) == 500


def test_in_another_thread(way, run):
    async def main():
        sh = await asyncio.create_subprocess_shell("echo x; exit 7", stdout=-1)
        return (await sh.communicate())[0], sh.returncode

    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(run(main())))
    thread.start()
    thread.join(20)
    assert outcome == [(b"x\n", 7)]


def test_two_loops(way, new_loop):
    loops = [new_loop(), new_loop()]
    children = [
        loop.run_until_complete(asyncio.create_subprocess_shell(f"exit {code}"))
        for code, loop in enumerate(loops, 5)
    ]
    codes = [
        loop.run_until_complete(child.wait())
        for loop, child in reversed(list(zip(loops, children, strict=True)))
    ]
    assert codes == [6, 5]
    for loop in loops:
        loop.close()


def test_that_ended_while_the_loop_stood_still(way, loop):
    child = loop.run_until_complete(asyncio.create_subprocess_shell("exit 7"))
    ends(child.pid)
    assert loop.run_until_complete(child.wait()) == 7


def test_other_children_are_not_reaped(way, loop):
    other = subprocess.Popen(["sh", "-c", "exit 9"])
    ends(other.pid)
    child = loop.run_until_complete(asyncio.create_subprocess_shell("exit 7"))
    assert loop.run_until_complete(child.wait()) == 7
    assert other.wait() == 9


@pytest.mark.penstock_only("asyncio's pidfd_open fails with ProcessLookupError")
def test_while_sigchld_is_ignored(way, loop, caplog):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = loop.run_until_complete(asyncio.create_subprocess_shell("exit 7"))
        # The kernel itself has reaped it.
        assert loop.run_until_complete(asyncio.wait_for(child.wait(), 10)) == 255
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.penstock_only("what asyncio says depends on its version")
def test_a_loop_that_closes_before_the_thread_has_waited(new_loop, monkeypatch, caplog):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(penstock.Loop, "_watch_child", refuse)
    caplog.set_level(logging.WARNING, "asyncio")
    loop = new_loop()
    reading, writing = os.pipe()
    child = loop.run_until_complete(asyncio.create_subprocess_exec("cat", stdin=reading))
    os.close(reading)
    (waiting,) = (t for t in threading.enumerate() if t.name == f"asyncio-waitpid-{child.pid}")
    loop.close()
    os.close(writing)
    waiting.join(10)
    assert not waiting.is_alive()
    assert f"that handles pid {child.pid} is closed" in caplog.text
    assert child._transport.get_extra_info("subprocess").wait(10) == 0
    child._transport.close()


# Refuses pidfd_open(2), number 434 everywhere, as container runtimes of old do.
REFUSE_PIDFDS = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
ALLOW, EPERM = 0x7FFF0000, 0x00050001
code = b"".join(struct.pack("HBBI", *op) for op in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, EPERM), (0x06, 0, 0, ALLOW)))
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    raise SystemExit(77)
import os
try:
    os.pidfd_open(os.getpid())
except PermissionError:
    pass
else:
    raise SystemExit(77)
"""


def test_where_pidfds_are_refused():
    program = REFUSE_PIDFDS + textwrap.dedent(
        """
        import asyncio, penstock, threading

        async def main():
            cat = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            print([t.name.startswith("asyncio-waitpid-") for t in threading.enumerate()[1:]])
            print(await cat.communicate(b"x"), cat.returncode)
            sleep = await asyncio.create_subprocess_exec("sleep", "100")
            sleep.kill()
            print(await sleep.wait())

        penstock.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    if done.returncode == 77:
        pytest.skip("no seccomp filter can be set here")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[True]", "(b'x', None) 0", "-9"]


class CountingWatcher:
    """Made into a child watcher of asyncio's in a test: 3.12 warns of the subclass."""

    def __init__(self):
        self.calls = []

    def is_active(self):
        self.calls.append("is_active")
        return True

    def __enter__(self):
        self.calls.append("enter")
        return self

    def __exit__(self, *exc):
        self.calls.append("exit")

    def attach_loop(self, loop):
        pass

    def close(self):
        pass

    def add_child_handler(self, pid, callback, *args):
        self.calls.append("add_child_handler")

        def wait():
            _, status = os.waitpid(pid, 0)
            callback(pid, os.waitstatus_to_exitcode(status) + 100, *args)

        threading.Thread(target=wait).start()


@pytest.fixture
def set_watcher():
    def set_watcher(watcher):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_child_watcher(watcher)

    yield set_watcher
    set_watcher(None)
    asyncio.set_event_loop_policy(None)


async def exit_code(code):
    sh = await asyncio.create_subprocess_shell(f"exit {code}")
    return await sh.wait()


@below_314
def test_a_watcher_of_the_program(loop, set_watcher):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        kind = type("Watcher", (CountingWatcher, asyncio.AbstractChildWatcher), {})
    watcher = kind()
    set_watcher(watcher)
    assert loop.run_until_complete(exit_code(3)) == 103
    assert watcher.calls == ["enter", "is_active", "add_child_handler", "exit"]


@below_314
def test_a_watcher_that_is_not_active(loop, set_watcher):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        kind = type("Watcher", (CountingWatcher, asyncio.AbstractChildWatcher), {})
    watcher = kind()
    watcher.is_active = lambda: False
    set_watcher(watcher)
    with pytest.raises(RuntimeError, match="is not activated"):
        loop.run_until_complete(exit_code(3))


@below_314
@pytest.mark.parametrize("name", ["SafeChildWatcher", "FastChildWatcher", "MultiLoopChildWatcher"])
def test_watchers_on_sigchld(loop, set_watcher, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        watcher = getattr(asyncio, name)()
    watcher.attach_loop(loop)
    set_watcher(watcher)
    try:
        assert loop.run_until_complete(exit_code(3)) == 3
    finally:
        watcher.attach_loop(None)
        watcher.close()


@below_314
def test_watchers_that_anybody_gets_by_default(loop, set_watcher):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.get_child_watcher()
    assert loop.run_until_complete(exit_code(3)) == 3


@below_314
def test_no_watcher_is_made_and_nothing_warns(loop, set_watcher):
    asyncio.set_event_loop_policy(penstock.EventLoopPolicy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loop.run_until_complete(exit_code(3)) == 3


@pytest.mark.penstock_only("which of both asyncio hears of first is a race")
async def test_output_precedes_the_exit_that_it_comes_with(way, execute):
    for _ in range(5):
        transport, protocol = await execute(*python("input(); print('x')"), stderr=None)
        transport.get_pipe_transport(0).write(b"\n")  # by now its output is watched
        ends(transport.get_pid())
        await asyncio.wait_for(protocol.lost, 10)
        assert protocol.calls.index(("data", 1)) < protocol.calls.index("exited")
        transport.close()
