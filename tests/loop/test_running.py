"""Running, stopping, closing, debug mode, asynchronous generators."""

import asyncio
import gc
import logging
import socket
import sys
import threading
import warnings

import penstock
import pytest


def test_repr_says_what_the_loop_does(loop):
    name = type(loop).__name__
    assert repr(loop) == f"<{name} running=False closed=False debug=False>"
    loop.call_soon(lambda: seen.append(repr(loop)))
    loop.call_soon(loop.stop)
    seen = []
    loop.run_forever()
    assert seen == [f"<{name} running=True closed=False debug=False>"]
    loop.close()
    assert repr(loop) == f"<{name} running=False closed=True debug=False>"


def test_run_forever_runs_until_stopped(loop):
    order = []
    loop.call_soon(order.append, 1)
    loop.call_soon(loop.stop)
    loop.call_soon(order.append, 2)
    loop.call_soon(lambda: loop.call_soon(order.append, "later"))
    loop.run_forever()
    assert order == [1, 2]
    assert not loop.is_running()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == [1, 2, "later"]


def test_stop_before_run_lets_one_turn_pass(loop):
    order = []
    loop.call_soon(order.append, 1)
    loop.stop()
    loop.run_forever()
    assert order == [1]


def test_run_until_complete_returns_and_raises(loop):
    async def answer():
        await asyncio.sleep(0)
        return 42

    async def fail():
        raise ValueError("no")

    assert loop.run_until_complete(answer()) == 42
    with pytest.raises(ValueError, match="^no$"):
        loop.run_until_complete(fail())
    future = loop.create_future()
    loop.call_soon(future.set_result, "done")
    assert loop.run_until_complete(future) == "done"


def test_run_until_complete_refuses_a_future_of_another_loop(loop, new_loop):
    other = new_loop()
    try:
        with pytest.raises(ValueError, match="^The future belongs to a different loop"):
            loop.run_until_complete(other.create_future())
    finally:
        other.close()


def test_run_until_complete_refuses_what_cannot_be_awaited(loop):
    with pytest.raises(TypeError, match="^An asyncio.Future, a coroutine or an awaitable"):
        loop.run_until_complete(5)


def test_stopping_early_is_an_error(loop):
    async def wait():
        loop.stop()
        await asyncio.sleep(3600)

    task = loop.create_task(wait())
    with pytest.raises(RuntimeError, match="^Event loop stopped before Future completed.$"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_base_exceptions_come_out_and_the_loop_goes_on(loop, kind):
    async def fail():
        raise kind()

    with pytest.raises(kind):
        loop.run_until_complete(fail())
    assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"
    loop.call_soon(_raise, kind())
    with pytest.raises(kind):
        loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"


def _raise(exc):
    raise exc


def test_a_running_loop_runs_no_second_time(loop, new_loop):
    other = new_loop()

    async def main():
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_until_complete(coroutine)
        with pytest.raises(
            RuntimeError, match="^Cannot run the event loop while another loop is running$"
        ):
            other.run_until_complete(coroutine)
        await coroutine
        with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
            loop.close()

    loop.run_until_complete(main())
    other.close()


def test_a_refused_run_forever_leaves_the_loop_running():
    # Not on asyncio: 3.13.0's forgets there that it is running.
    loop = penstock.new_event_loop()

    async def main():
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_forever()
        assert loop.is_running()
        assert asyncio.get_running_loop() is loop

    loop.run_until_complete(main())
    loop.close()


def test_closed(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    for call in (
        loop.run_forever,
        lambda: loop.run_until_complete(future),
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.add_signal_handler(10, print),
    ):
        future = asyncio.Future(loop=loop)
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call()


def test_close_drops_what_is_scheduled(loop):
    called = []
    loop.call_soon(called.append, 1)
    loop.call_later(0, called.append, 2)
    loop.close()
    assert called == []


def test_an_unclosed_loop_warns(new_loop):
    loop = new_loop()
    description = repr(loop)
    with pytest.warns(ResourceWarning) as caught:
        del loop
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"unclosed event loop {description}"]


def test_the_running_loop_is_known(loop):
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [loop]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_loop_runs_in_any_thread(loop):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(loop.run_until_complete(asyncio.sleep(0, "from a thread")))
    )
    thread.start()
    thread.join()
    assert results == ["from a thread"]


def test_call_soon_threadsafe_wakes_the_loop(loop):
    def from_thread():
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(lambda: threading.Thread(target=from_thread).start())
    loop.run_forever()


class TestDebug:
    def test_the_environment_switches_it(self, new_loop, monkeypatch):
        monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
        loop = new_loop()
        assert loop.get_debug() is True
        loop.close()

    def test_origins_of_coroutines_are_tracked_while_running(self, loop):
        depths = []
        loop.set_debug(True)
        assert sys.get_coroutine_origin_tracking_depth() == 0
        loop.call_soon(lambda: depths.append(sys.get_coroutine_origin_tracking_depth()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert depths == [10]
        assert sys.get_coroutine_origin_tracking_depth() == 0

    def test_it_can_be_switched_during_a_run(self, loop):
        depths = []

        async def main():
            for enabled in (True, True, False, False):
                loop.set_debug(enabled)
                await asyncio.sleep(0)
                depths.append(sys.get_coroutine_origin_tracking_depth())

        loop.run_until_complete(main())
        assert depths == [10, 10, 0, 0]

    def test_wrong_threads_are_told(self, loop):
        loop.set_debug(True)
        errors = []

        def from_thread():
            try:
                loop.call_soon(print)
            except RuntimeError as exc:
                errors.append(str(exc))

        async def main():
            await loop.run_in_executor(None, from_thread)

        loop.run_until_complete(main())
        assert errors == [
            "Non-thread-safe operation invoked on an event loop other than the current one"
        ]

    def test_coroutines_are_no_callbacks(self, loop):
        loop.set_debug(True)

        async def coroutine_function():
            pass

        for name in ("call_soon", "call_soon_threadsafe"):
            with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {name}\(\)$"):
                getattr(loop, name)(coroutine_function)
            with pytest.raises(
                TypeError, match=rf"^a callable object was expected by {name}\(\), got 5$"
            ):
                getattr(loop, name)(5)

    def test_closing_is_logged(self, loop, caplog):
        loop.set_debug(True)
        with caplog.at_level(logging.DEBUG, "asyncio"):
            loop.close()
        assert f"Close <{type(loop).__name__} running=False closed=False debug=True>" in caplog.text


class TestAsyncGenerators:
    def test_shutdown_closes_them(self, loop):
        closed = []

        async def numbers():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        async def main():
            agens = [numbers() for _ in range(3)]
            for agen in agens:
                await agen.__anext__()
            return agens

        alive = loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert closed == [True] * 3
        del alive

    def test_their_failures_are_reported(self, loop):
        reports = []
        loop.set_exception_handler(lambda _, report: reports.append(report))

        async def failing():
            try:
                yield 1
            finally:
                raise ValueError("while closing")

        async def main():
            agen = failing()
            await agen.__anext__()
            await loop.shutdown_asyncgens()
            return agen

        agen = loop.run_until_complete(main())
        (report,) = reports
        assert (
            report["message"]
            == f"an error occurred during closing of asynchronous generator {agen!r}"
        )
        assert str(report["exception"]) == "while closing"
        assert report["asyncgen"] is agen

    def test_one_that_is_dropped_is_closed_on_the_loop(self, loop):
        closed = []

        async def numbers():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                closed.append(asyncio.get_running_loop())

        async def main():
            agen = numbers()
            await agen.__anext__()
            del agen
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        assert closed == [loop]

    def test_a_late_one_warns(self, loop):
        async def numbers():
            yield 1

        async def main():
            await loop.shutdown_asyncgens()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                async for _ in numbers():
                    pass
            return [str(warning.message) for warning in caught]

        (message,) = loop.run_until_complete(main())
        assert message.startswith("asynchronous generator <async_generator object")
        assert message.endswith("was scheduled after loop.shutdown_asyncgens() call")

    def test_the_hooks_of_others_are_put_back(self, loop):
        before = sys.get_asyncgen_hooks()
        hooks = (lambda agen: None, lambda agen: None)
        sys.set_asyncgen_hooks(*hooks)
        try:
            loop.run_until_complete(asyncio.sleep(0))
            assert tuple(sys.get_asyncgen_hooks()) == hooks
        finally:
            sys.set_asyncgen_hooks(*before)


async def test_what_was_ready_comes_before_what_the_kernel_brings_and_that_before_timers():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        seen = []

        class Note(asyncio.Protocol):
            def data_received(self, data):
                seen.append(data)

        transport, _ = await loop.create_connection(Note, sock=ours)
        loop.call_soon(seen.append, "ready")
        loop.call_at(loop.time(), seen.append, "timer")
        theirs.send(b"io")
        await asyncio.sleep(0)
        assert seen == ["ready"]
        await asyncio.sleep(0)
        assert seen == ["ready", b"io", "timer"]
        transport.close()
        await asyncio.sleep(0)


async def test_a_reader_s_callback_keeps_to_that_order():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        seen = []
        loop.add_reader(ours, lambda: seen.append(ours.recv(10)))
        await asyncio.sleep(0)
        loop.call_soon(loop.call_soon, seen.append, "next turn")
        loop.call_at(loop.time(), seen.append, "timer")
        theirs.send(b"io")
        await asyncio.sleep(0)
        assert seen == []
        await asyncio.sleep(0)
        assert seen == [b"io", "timer", "next turn"]
        loop.remove_reader(ours)
