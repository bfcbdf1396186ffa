"""fork(): a child has no running loop, may run one of its own, and leaves its parent's alone."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings

import penstock
import pytest


def in_child(function):
    """What `function()` says in a child of fork(), or what it raises."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        # Executors and other tests have threads, which CPython warns of from 3.12 on.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            answer = str(function())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write_end, answer.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


async def woken_by_a_thread():
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    threading.Thread(target=loop.call_soon_threadsafe, args=(woken.set_result, "woken")).start()
    return await woken


async def use_everything():
    loop = asyncio.get_running_loop()
    await woken_by_a_thread()
    await asyncio.sleep(0.001)
    answers = await loop.getaddrinfo("localhost", 80)
    task = loop.create_task(asyncio.sleep(0, "all there"))
    return await task if answers else "nothing found"


async def test_no_loop_runs_in_a_child():
    assert in_child(asyncio._get_running_loop) == "None"
    assert in_child(asyncio.get_running_loop) == "RuntimeError: no running event loop"
    assert in_child(asyncio.current_task) == "RuntimeError: no running event loop"


async def test_a_child_creates_no_task_on_its_parents_loop():
    async def nothing(): ...

    coroutine = nothing()
    said = in_child(lambda: asyncio.create_task(coroutine))
    ours = in_child(lambda: penstock._core.create_task(coroutine))
    coroutine.close()
    assert said == ours == "RuntimeError: no running event loop"


async def test_a_child_runs_a_loop_of_its_own(new_loop):
    await use_everything()

    def child():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(use_everything())

    assert in_child(child) == "all there"
    assert await use_everything() == "all there"


async def test_a_childs_child_too(new_loop):
    def grandchild():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(use_everything())

    async def child_main():
        return in_child(grandchild)

    def child():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(child_main())

    assert in_child(child) == "all there"


def open_files():
    files = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            files[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the descriptor of the listing itself
    return files


def test_a_daemon_that_has_closed_what_it_inherited(loop):
    """It forks again, and the numbers that the loop had mean files of its own by then."""
    loop.add_signal_handler(signal.SIGUSR2, print)

    def daemon():
        null = os.open("/dev/null", os.O_RDONLY)
        kinds = ("anon_inode:[eventfd]", "socket:")
        taken = [fd for fd, file in open_files().items() if file.startswith(kinds)]
        for fd in taken:
            os.dup2(null, fd)
        return in_child(lambda: bool(taken) and {open_files()[fd] for fd in taken})

    assert in_child(daemon) == "{'/dev/null'}"


@pytest.mark.penstock_only("asyncio's child shares its parent's epoll and wake-up")
class TestInheritedLoop:
    """Not running, it works in the child as any other, on kernel objects of its own."""

    def test_runs(self, loop):
        loop.run_until_complete(use_everything())
        assert in_child(lambda: loop.run_until_complete(use_everything())) == "all there"
        assert loop.run_until_complete(use_everything()) == "all there"

    def test_closes(self, loop):
        called = []
        read_end, write_end = os.pipe()
        loop.add_reader(read_end, lambda: (called.append(os.read(read_end, 1)), loop.stop()))
        assert in_child(loop.close) == "None"
        os.write(write_end, b"x")
        loop.run_forever()
        loop.remove_reader(read_end)
        os.close(read_end)
        os.close(write_end)
        assert called == [b"x"]

    def test_wakes_itself_and_not_its_parent(self, loop):
        """A wake-up that went astray would leave one of them waiting."""

        def child():
            return loop.run_until_complete(woken_by_a_thread())

        async def parent():
            said = in_child(lambda: penstock.run(woken_by_a_thread()))
            return said, await woken_by_a_thread()

        assert in_child(child) == "woken"
        assert loop.run_until_complete(parent()) == ("woken", "woken")

    def test_goes_on_after_a_callback_has_forked(self, loop):
        """As a daemon that lets go of its terminal late does."""
        read_end, write_end = os.pipe()
        parent = os.getpid()

        async def main():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child:
                return child
            signal.alarm(30)
            loop.call_later(0.001, loop.stop)
            return 0

        def run():
            child = loop.run_until_complete(main())
            if os.getpid() != parent:
                loop.run_forever()
                os.write(write_end, b"done")
                os._exit(0)
            return child

        child = run()
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            assert pipe.read() == b"done"
        assert os.waitpid(child, 0)[1] == 0


async def test_a_signal_of_the_childs_is_none_of_its_parents():
    loop = asyncio.get_running_loop()
    called = []
    loop.add_signal_handler(signal.SIGUSR1, called.append, "parent")

    def child():
        handled = []
        signal.signal(signal.SIGUSR1, lambda *_: handled.append("child"))
        signal.raise_signal(signal.SIGUSR1)
        return handled

    assert in_child(child) == "['child']"
    await asyncio.sleep(0.01)
    if sys.version_info >= (3, 12) or isinstance(loop, penstock.Loop):
        assert called == []
    os.kill(os.getpid(), signal.SIGUSR1)
    while "parent" not in called:
        await asyncio.sleep(0.001)
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_childs_loop_handles_signals(new_loop):
    async def main():
        loop = asyncio.get_running_loop()
        handled = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, handled.set_result, "handled")
        # From another process: nothing but the descriptor can end the loop's sleep.
        await asyncio.to_thread(
            subprocess.run, ["kill", "-USR1", str(os.getpid())], check=True, timeout=20
        )
        return await handled

    def child():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main())

    assert in_child(child) == "handled"


def run_in_pool(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(use_everything())


async def test_multiprocessing_forks(new_loop):
    def work():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(run_in_pool, [new_loop] * 4)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert work() == ["all there"] * 4
    assert await use_everything() == "all there"


def test_idle_resolver_threads_draw_no_warning():
    """CPython 3.12 and later warn where a process with threads forks: ours are none of its."""
    program = """
import asyncio, os, socket, penstock
async def main():
    loop = asyncio.get_running_loop()
    for _ in range(20):
        await asyncio.gather(*[loop.getaddrinfo("localhost", 80) for _ in range(4)])
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
penstock.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
