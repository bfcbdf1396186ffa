"""Signal handlers, Ctrl-C, the wake-up descriptor; with real signals."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest


@pytest.fixture(autouse=True)
def _handlers_are_put_back():
    kept = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGALRM)
    # A process that a shell has put into the background ignores SIGINT.
    started_with = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(sig) for sig in kept]
    yield
    after = [signal.getsignal(sig) for sig in kept]
    signal.signal(signal.SIGINT, started_with)
    assert after == before
    assert wakeup_fd() == -1


def wakeup_fd():
    fd = signal.set_wakeup_fd(-1)
    if fd != -1:
        signal.set_wakeup_fd(fd)
    return fd


def kill(sig):
    os.kill(os.getpid(), sig)


def test_a_handler_runs_as_a_callback(loop):
    calls = []

    def handler(*args):
        calls.append((args, asyncio.get_running_loop()))
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler, 1, "two")
    loop.call_soon(kill, signal.SIGUSR1)
    loop.run_forever()
    assert calls == [((1, "two"), loop)]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_sleeping_loop_is_woken(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = threading.Timer(0.05, kill, [signal.SIGUSR1])
    thread.start()
    loop.run_forever()
    thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_between_runs_is_kept(loop):
    calls = []
    loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
    kill(signal.SIGUSR1)
    assert calls == []
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert calls == [1]


def test_a_later_handler_replaces_an_earlier_one(loop):
    calls = []
    loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
    loop.add_signal_handler(signal.SIGUSR1, lambda: (calls.append(2), loop.stop()))
    loop.call_soon(kill, signal.SIGUSR1)
    loop.run_forever()
    assert calls == [2]


def test_children_that_end(loop):
    calls = []
    loop.add_signal_handler(signal.SIGCHLD, lambda: (calls.append(1), loop.stop()))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    loop.run_forever()
    child.wait()
    loop.remove_signal_handler(signal.SIGCHLD)
    assert calls == [1]


def test_sigint_can_be_handled(loop):
    loop.add_signal_handler(signal.SIGINT, loop.stop)
    loop.call_soon(kill, signal.SIGINT)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failing_handler_is_reported(loop):
    reports = []
    loop.set_exception_handler(lambda loop, report: (reports.append(report), loop.stop()))
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    loop.call_soon(kill, signal.SIGUSR1)
    loop.run_forever()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_wrong_arguments(loop):
    async def coroutine_function():
        pass

    with pytest.raises(TypeError, match="^sig must be an int, not 'SIGUSR1'$"):
        loop.add_signal_handler("SIGUSR1", print)
    with pytest.raises(TypeError, match="^sig must be an int, not 'SIGUSR1'$"):
        loop.remove_signal_handler("SIGUSR1")
    with pytest.raises(ValueError, match="^invalid signal number 1000$"):
        loop.add_signal_handler(1000, print)
    with pytest.raises(RuntimeError, match=f"^sig {signal.SIGKILL} cannot be caught$"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
        loop.add_signal_handler(signal.SIGUSR1, coroutine_function)


def test_only_in_the_main_thread(loop):
    errors = []

    def add():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as exc:
            errors.append(str(exc))

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert errors == ["set_wakeup_fd only works in main thread of the main interpreter"]


def test_close_puts_the_default_back(new_loop):
    loop = new_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_pythons_own_handlers_run_while_the_loop_sleeps(loop):
    # No add_signal_handler here: this is what Ctrl-C and faulthandlers count on.
    before = signal.signal(signal.SIGALRM, lambda *_: loop.call_soon_threadsafe(loop.stop))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        loop.run_forever()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_in_another_thread_wakes_the_loop(loop):
    # The kernel may deliver it to any thread; Python's handler runs in the main one.
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(loop.stop))
    running = threading.Event()

    def signal_myself():
        running.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    thread = threading.Thread(target=signal_myself)
    thread.start()
    try:
        loop.call_soon(running.set)
        timer = loop.call_later(0.5, loop.stop) if not is_ours(loop) else None
        loop.run_forever()
        if timer is not None:
            timer.cancel()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def is_ours(loop):
    return type(loop).__module__.startswith("penstock")


def test_ctrl_c_ends_a_run(loop):
    loop.call_soon(kill, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(0))


def test_ctrl_c_ends_a_busy_loop(loop):
    def spin():
        loop.call_soon(spin)

    spin()
    thread = threading.Timer(0.05, kill, [signal.SIGINT])
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()


def test_the_runner_cancels_its_main_task(run):
    async def main():
        try:
            kill(signal.SIGINT)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    cancelled = []
    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert cancelled == [True]


class TestWakeupDescriptor:
    @pytest.fixture
    def foreign(self):
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            signal.set_wakeup_fd(writer.fileno())
            yield writer.fileno()
            signal.set_wakeup_fd(-1)

    @pytest.mark.penstock_only("asyncio installs none for a run")
    def test_ours_is_there_during_a_run(self, loop):
        seen = []
        loop.call_soon(lambda: (seen.append(wakeup_fd()), loop.stop()))
        loop.run_forever()
        assert seen != [-1]
        assert wakeup_fd() == -1

    def test_anothers_stays_during_a_run(self, loop, foreign):
        seen = []
        loop.call_soon(lambda: (seen.append(wakeup_fd()), loop.stop()))
        loop.run_forever()
        assert seen == [foreign]
        assert wakeup_fd() == foreign

    @pytest.mark.penstock_only("asyncio sets it to -1")
    def test_anothers_comes_back_after_the_last_handler(self, loop, foreign):
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.add_signal_handler(signal.SIGUSR2, print)
        ours = wakeup_fd()
        assert ours != foreign
        loop.remove_signal_handler(signal.SIGUSR2)
        assert wakeup_fd() == ours
        loop.remove_signal_handler(signal.SIGUSR1)
        assert wakeup_fd() == foreign

    @pytest.mark.penstock_only("asyncio sets it to -1")
    def test_anothers_comes_back_in_the_middle_of_a_run(self, loop, foreign):
        seen = []

        def handle():
            loop.remove_signal_handler(signal.SIGUSR1)
            seen.append(wakeup_fd())
            loop.stop()

        loop.add_signal_handler(signal.SIGUSR1, handle)
        loop.call_soon(kill, signal.SIGUSR1)
        loop.run_forever()
        assert seen == [foreign]
        assert wakeup_fd() == foreign

    @pytest.mark.penstock_only("asyncio sets it to -1")
    def test_one_that_somebody_installed_later_stays(self, loop):
        loop.add_signal_handler(signal.SIGUSR1, print)
        reader, writer = socket.socketpair()
        with reader, writer:
            writer.setblocking(False)
            signal.set_wakeup_fd(writer.fileno())
            loop.close()
            assert signal.set_wakeup_fd(-1) == writer.fileno()

    @pytest.mark.penstock_only("asyncio counts on the bytes in the descriptor")
    def test_handlers_survive_its_loss(self, loop):
        loop.add_signal_handler(signal.SIGUSR1, loop.stop)
        signal.set_wakeup_fd(-1)
        loop.call_soon(kill, signal.SIGUSR1)
        loop.run_forever()
