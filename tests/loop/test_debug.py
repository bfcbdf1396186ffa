"""Debug mode: what is logged, refused and remembered, held against asyncio line by line.

Source: CPython 3.15, Doc/library/asyncio-dev.rst.
"""

import asyncio
import functools
import gc
import linecache
import logging
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings

import penstock
import pytest

SLOW = 0.1
TOO_SLOW = 0.15
NEVER = 1e6

# What differs by design: the names of classes, addresses, numbers, and where asyncio's own files
# have made a handle.
_SAME = (
    (r"_UnixSelectorEventLoop|_SelectorEventLoop", "Loop"),
    (r"_SelectorSocketTransport", "SocketTransport"),
    (r" at 0x[0-9a-f]+", ""),
    (r"\bfd=\d+", "fd=N"),
    (r"\bTask-\d+", "Task-N"),
    (r"'(127\.0\.0\.1|::1)', \d+", r"'\1', PORT"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"took [0-9.]+ ?(seconds|ms)", r"took SOME \1"),
    (r"_run_until_complete_cb\(\) at \S+\]|_stop_its_loop\(\) at \S+\]", "stop the loop]"),
    (r" created at \S*asyncio/selector_events.py:\d+", " created at SOMEWHERE"),
    (r" when=[0-9.]+", " when=W"),
    (r"read=(polling|idle)", "read=R"),
)


def normalised(message):
    for pattern, replacement in _SAME:
        message = re.sub(pattern, replacement, message)
    return message


@pytest.fixture
def records(caplog):
    """`records()`: what was logged since the last call, (level, message) a line."""
    caplog.set_level(logging.DEBUG, logger="asyncio")

    def records():
        found = [
            (record.levelname, normalised(record.message))
            for record in caplog.records
            if record.name == "asyncio" and not record.message.startswith("Using selector")
        ]
        caplog.clear()
        return found

    return records


@pytest.fixture
def debug_run(new_loop):
    def run(main):
        with asyncio.Runner(debug=True, loop_factory=new_loop) as runner:
            runner.get_loop().slow_callback_duration = SLOW
            return runner.run(main)

    return run


def both(scenario, records, threshold=NEVER):
    """What `scenario(runner)` logs on either loop."""
    logs = []
    for factory in (asyncio.unix_events._UnixSelectorEventLoop, penstock.new_event_loop):
        records()
        with asyncio.Runner(debug=True, loop_factory=factory) as runner:
            runner.get_loop().slow_callback_duration = threshold
            scenario(runner)
        logs.append(records())
    return logs


class Slow(asyncio.Protocol):
    """Takes its time in the method that is named."""

    def __init__(self, where):
        self.where = where
        self.heard = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()

    def _maybe(self, name):
        if name == self.where:
            time.sleep(TOO_SLOW)

    def connection_made(self, transport):
        self._maybe("connection_made")

    def data_received(self, data):
        self._maybe("data_received")
        self.heard.set_result(None)

    def eof_received(self):
        self._maybe("eof_received")

    def connection_lost(self, exc):
        self._maybe("connection_lost")
        self.lost.set_result(None)


class SlowBuffered(asyncio.BufferedProtocol):
    def __init__(self):
        self.buffer = bytearray(100)
        self.heard = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        time.sleep(TOO_SLOW)
        self.heard.set_result(None)

    def connection_lost(self, exc):
        self.lost.set_result(None)


def slow(records, who):
    """The lines about slow calls of `who`: on a busy machine others may be slow as well."""
    return [text for _, text in records if text.startswith("Executing") and who in text]


def be_slow(*args):
    time.sleep(TOO_SLOW)


# ---- slow callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["call_soon", "call_later", "call_soon_threadsafe"])
def test_slow_handles_are_logged_alike(how, records):
    def scenario(runner):
        async def main():
            loop = asyncio.get_running_loop()
            delay = (0,) if how == "call_later" else ()
            getattr(loop, how)(*delay, be_slow, "an argument")
            await asyncio.sleep(0.01)
            await asyncio.sleep(0)

        runner.run(main())

    stock, ours = both(scenario, records, SLOW)
    (line,) = slow(stock, "be_slow(")
    assert "created at" in line
    # 3.14's call_soon_threadsafe() has a private class of its own.
    assert slow(ours, "be_slow(") == [line.replace("<_ThreadSafeHandle ", "<Handle ")]


def test_slow_steps_of_tasks_are_logged_alike(records):
    async def slow_coroutine():
        time.sleep(TOO_SLOW)
        await asyncio.sleep(0)
        time.sleep(TOO_SLOW)

    def scenario(runner):
        async def main():
            await asyncio.create_task(slow_coroutine(), name="turtle")

        runner.run(main())

    stock, ours = both(scenario, records, SLOW)
    lines = slow(stock, "<Task pending name='turtle'") + slow(stock, "<Task finished name='turtle'")
    assert len(lines) == 2
    assert [line for _, line in ours if line in lines] == lines


def test_a_slow_timer_of_a_task_shows_the_task(records):
    def scenario(runner):
        async def main():
            turtle = asyncio.create_task(asyncio.sleep(0, 0), name="turtle")
            asyncio.get_running_loop().call_later(0, types.MethodType(be_slow, turtle))
            await asyncio.sleep(0.01)
            await asyncio.sleep(0)

        runner.run(main())

    for log in both(scenario, records, SLOW):
        assert slow(log, "name='turtle'")


def test_a_slow_eager_step_counts_for_the_callback_that_made_the_task(debug_run, records):
    async def eager():
        time.sleep(TOO_SLOW)

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(functools.partial(penstock.Task, eager(), loop=loop, eager_start=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    if sys.version_info < (3, 12):
        pytest.skip("asyncio starts no task eagerly before 3.12")
    debug_run(main())
    assert slow(records(), "<Handle ")


@pytest.mark.parametrize("how", ["reader", "writer"])
def test_slow_readers_and_writers_are_logged_alike(how, records):
    def scenario(runner):
        async def main():
            loop = asyncio.get_running_loop()
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                done = loop.create_future()

                def ready(word):
                    time.sleep(TOO_SLOW)
                    getattr(loop, f"remove_{how}")(near)
                    done.set_result(None)

                getattr(loop, f"add_{how}")(near, ready, "word")
                far.send(b"x")
                await done

        runner.run(main())

    stock, ours = both(scenario, records, SLOW)
    # asyncio says where in its own files the handle was made, ours who called add_reader().
    shown = [re.sub(r" created at \S+", "", *slow(log, ".ready(")) for log in (stock, ours)]
    assert shown[0] == shown[1]


async def talk(protocol_factory):
    """A connection that says something, ends and is lost."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        transport, protocol = await loop.create_connection(protocol_factory, sock=near)
        far.send(b"hello")
        await protocol.heard
        far.close()
        await protocol.lost
    return transport


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("connection_made", "Slow.connection_made("),
        ("data_received", "SocketTransport._read_ready()"),
        ("eof_received", "SocketTransport._read_ready()"),
        ("connection_lost", "SocketTransport._call_connection_lost("),
    ],
)
def test_slow_methods_of_a_protocol_are_logged(where, line, debug_run, records):
    debug_run(talk(lambda: Slow(where)))
    assert slow(records(), line)


@pytest.mark.penstock_only("asyncio's line shows the handle, which knows no protocol")
@pytest.mark.parametrize("where", ["data_received", "eof_received"])
def test_the_line_names_the_slow_protocol(where, debug_run, records):
    debug_run(talk(lambda: Slow(where)))
    lines = slow(records(), "SocketTransport._read_ready()")
    assert lines
    assert all(f"{__name__.rpartition('.')[2]}.Slow object" in line for line in lines)


def test_slow_buffered_protocols_are_logged(debug_run, records):
    debug_run(talk(SlowBuffered))
    assert slow(records(), "SocketTransport._read_ready()")


def test_a_slow_resume_writing_is_logged(debug_run, records):
    class Resumed(Slow):
        def pause_writing(self):
            pass

        def resume_writing(self):
            time.sleep(TOO_SLOW)

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:
            transport, protocol = await loop.create_connection(lambda: Resumed(None), sock=near)
            transport.write(bytes(4_000_000))
            reading = threading.Thread(
                target=lambda: [None for _ in iter(lambda: far.recv(1 << 16), b"")]
            )
            reading.start()
            transport.close()
            await protocol.lost
            reading.join()

    debug_run(main())
    assert slow(records(), "SocketTransport._write_")


def test_a_slow_protocol_factory_is_logged(debug_run, records):
    accepted = []

    def factory():
        time.sleep(TOO_SLOW)
        protocol = Slow(None)
        accepted.append(protocol)
        return protocol

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server:
            with socket.create_connection(server.sockets[0].getsockname()):
                while not accepted:
                    await asyncio.sleep(0.005)
            await accepted[0].lost

    debug_run(main())
    assert slow(records(), "accept_connection")


def test_the_threshold_can_be_changed(debug_run, records):
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = NEVER
        loop.call_soon(be_slow)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.slow_callback_duration = SLOW
        loop.call_soon(be_slow)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    debug_run(main())
    assert len(slow(records(), "be_slow(")) == 1


def test_the_default_threshold_is_a_tenth_of_a_second(loop):
    assert loop.slow_callback_duration == 0.1


def test_nothing_is_timed_outside_of_debug_mode(run, records):
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 0.001
        asyncio.get_running_loop().call_soon(be_slow)
        await talk(lambda: Slow("data_received"))

    run(main(), debug=False)
    assert slow(records(), "") == []


# ---- what is logged besides --------------------------------------------------------------------


def test_a_connection_is_logged_alike(records):
    def scenario(runner):
        async def serve(reader, writer):
            await reader.read()
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.transport.pause_reading()
            writer.transport.resume_reading()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

        runner.run(main())

    stock, ours = both(scenario, records)
    # Who of the two ends comes first is the kernel's choice.
    assert sorted(ours) == sorted(stock)


def test_an_accepted_socket_is_logged_alike(records):
    def scenario(runner):
        async def main():
            near, far = socket.socketpair()
            near.setblocking(False)
            loop = asyncio.get_running_loop()
            _, protocol = await loop.connect_accepted_socket(lambda: Slow(None), near)
            far.close()
            await protocol.lost

        runner.run(main())

    stock, ours = both(scenario, records)
    assert any("handled" in text for _, text in stock)
    assert ours == stock


def test_a_lookup_is_logged_alike(records):
    def scenario(runner):
        async def main():
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

        runner.run(main())

    stock, ours = both(scenario, records)
    assert any("Getting address info" in text for _, text in stock)
    assert ours == stock


def test_closing_the_loop_is_logged_alike(records):
    stock, ours = both(lambda runner: runner.get_loop(), records)
    assert stock[-1] == ("DEBUG", "Close <Loop running=False closed=False debug=True>")
    assert ours == stock


def test_a_lost_connection_is_logged_alike(records):
    def scenario(runner):
        async def main():
            loop = asyncio.get_running_loop()
            with socket.create_server(("127.0.0.1", 0)) as listening:
                near = socket.create_connection(listening.getsockname())
                far, _ = listening.accept()
            near.setblocking(False)
            _, protocol = await loop.create_connection(lambda: Slow(None), sock=near)
            # Closing with unread bytes resets the connection.
            near.send(b"unread")
            linger = b"\1\0\0\0\0\0\0\0"
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            far.close()
            await protocol.lost

        runner.run(main())

    stock, ours = both(scenario, records)
    assert any("Fatal read error" in text for _, text in stock)
    assert ours == stock


def test_a_slow_handler_of_exceptions_tells_where_the_handle_was_made(debug_run, records):
    def fail():
        raise ZeroDivisionError

    async def main():
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)

    debug_run(main())
    (message,) = [text for level, text in records() if level == "ERROR"]
    assert "Object created at (most recent call last):" in message
    assert "call_soon(fail)" in message


# ---- what is refused ---------------------------------------------------------------------------


async def in_thread(function):
    """What `function` raised or returned in another thread, without the executor's help."""
    done = threading.Event()
    outcome = []

    def body():
        try:
            outcome.append(function())
        except Exception as exc:
            outcome.append(exc)
        finally:
            done.set()

    thread = threading.Thread(target=body)
    thread.start()
    while not done.is_set():
        await asyncio.sleep(0.001)
    thread.join()
    return outcome[0]


WRONG_THREAD = "Non-thread-safe operation invoked on an event loop other than the current one"


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_calls_from_a_wrong_thread_are_refused(method, debug_run):
    async def main():
        loop = asyncio.get_running_loop()
        when = {"call_soon": (), "call_later": (60,), "call_at": (loop.time() + 60,)}[method]
        outcome = await in_thread(lambda: getattr(loop, method)(*when, print))
        assert isinstance(outcome, RuntimeError)
        assert str(outcome) == WRONG_THREAD
        loop.set_debug(False)
        handle = await in_thread(lambda: getattr(loop, method)(*when, len, ""))
        assert isinstance(handle, asyncio.Handle)
        handle.cancel()

    debug_run(main())


def test_a_future_that_is_set_in_a_wrong_thread_is_found_out(debug_run):
    async def main():
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: None)
        outcome = await in_thread(lambda: future.set_result(None))
        assert isinstance(outcome, RuntimeError)
        assert str(outcome) == WRONG_THREAD

    debug_run(main())


def test_a_waiting_task_that_is_woken_in_a_wrong_thread_is_found_out(loop):
    async def wait(future):
        await future

    async def main():
        future = loop.create_future()
        waiting = loop.create_task(wait(future))
        await asyncio.sleep(0)
        outcome = await in_thread(lambda: future.set_result(None))
        assert isinstance(outcome, RuntimeError), outcome
        assert str(outcome) == WRONG_THREAD
        # Nobody wakes it any more, on asyncio either.
        waiting._log_destroy_pending = False

    loop.set_debug(True)
    loop.run_until_complete(main())


def test_a_task_that_is_made_in_a_wrong_thread_is_found_out(debug_run):
    async def nothing():
        pass

    async def main():
        loop = asyncio.get_running_loop()
        coroutine = nothing()
        outcome = await in_thread(lambda: loop.create_task(coroutine))
        assert isinstance(outcome, RuntimeError), outcome
        assert str(outcome) == WRONG_THREAD
        coroutine.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        debug_run(main())
        gc.collect()


async def a_coroutine():
    pass


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at", "call_soon_threadsafe"])
def test_what_cannot_be_called_is_refused_alike(method, records):
    def messages(runner):
        async def main():
            loop = asyncio.get_running_loop()
            when = {"call_later": (0,), "call_at": (loop.time(),)}.get(method, ())
            found = []
            coroutine = a_coroutine()
            for callback in (a_coroutine, coroutine, 7):
                with pytest.raises(TypeError) as caught:
                    getattr(loop, method)(*when, callback)
                found.append(normalised(str(caught.value)))
            coroutine.close()
            return found

        seen.append(runner.run(main()))

    seen = []
    both(messages, records)
    assert seen[1] == seen[0]


def test_an_executor_refuses_what_it_cannot_call(debug_run):
    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor"):
            loop.run_in_executor(None, a_coroutine)
        with pytest.raises(TypeError, match="a callable object was expected by run_in_executor"):
            loop.run_in_executor(None, 7)

    debug_run(main())


def test_blocking_sockets_are_refused(debug_run):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with near, far:
            for awaitable in (
                loop.sock_recv(near, 1),
                loop.sock_recv_into(near, bytearray(1)),
                loop.sock_sendall(near, b"x"),
                loop.sock_connect(near, "nowhere"),
                loop.sock_accept(near),
            ):
                with pytest.raises(ValueError, match="the socket must be non-blocking"):
                    await awaitable

    debug_run(main())


# ---- what is remembered ------------------------------------------------------------------------


def source_line(entry):
    return linecache.getline(entry[0], entry[1]).strip()


def test_handles_futures_and_tasks_know_where_they_were_made(debug_run):
    async def main():
        loop = asyncio.get_running_loop()
        soon = loop.call_soon(len, "")  # made: soon
        later = loop.call_later(60, len, "")  # made: later
        at = loop.call_at(loop.time() + 60, len, "")  # made: at
        threadsafe = loop.call_soon_threadsafe(len, "")  # made: threadsafe
        future = loop.create_future()  # made: future
        task = loop.create_task(a_coroutine())  # made: task
        for name, made in (
            ("soon", soon),
            ("later", later),
            ("at", at),
            ("threadsafe", threadsafe),
            ("future", future),
            ("task", task),
        ):
            # The last line of all but for a Future of asyncio's, which its loop has made.
            lines = [source_line(entry) for entry in made._source_traceback[-2:]]
            assert any(line.endswith(f"# made: {name}") for line in lines), lines
        later.cancel()
        at.cancel()
        await task

    debug_run(main())


def test_coroutines_know_where_they_were_made(debug_run):
    async def main():
        coroutine = a_coroutine()  # made here
        await asyncio.sleep(0)
        assert coroutine.cr_origin is not None
        assert source_line(coroutine.cr_origin[0]) == "coroutine = a_coroutine()  # made here"
        coroutine.close()

    depth = sys.get_coroutine_origin_tracking_depth()
    debug_run(main())
    assert sys.get_coroutine_origin_tracking_depth() == depth


def test_origins_follow_debug_mode_while_the_loop_runs(run):
    async def main():
        loop = asyncio.get_running_loop()
        assert sys.get_coroutine_origin_tracking_depth() == 0
        loop.set_debug(True)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() > 0
        loop.set_debug(False)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() == 0

    run(main(), debug=False)


def test_origins_keep_what_the_program_had(run):
    sys.set_coroutine_origin_tracking_depth(3)
    try:

        async def main():
            assert sys.get_coroutine_origin_tracking_depth() == 10

        run(main(), debug=True)
        assert sys.get_coroutine_origin_tracking_depth() == 3
    finally:
        sys.set_coroutine_origin_tracking_depth(0)


def test_a_coroutine_that_is_never_awaited_tells_its_origin(debug_run):
    async def main():
        a_coroutine()
        gc.collect()

    with pytest.warns(RuntimeWarning, match="never awaited") as caught:
        debug_run(main())
    assert "Coroutine created at (most recent call last)" in str(caught[0].message)


def test_a_never_retrieved_exception_tells_where_its_task_was_made(debug_run, records):
    async def fail():
        raise ZeroDivisionError

    async def main():
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        gc.collect()

    debug_run(main())
    (message,) = [text for level, text in records() if level == "ERROR"]
    assert message.startswith("Task exception was never retrieved")
    assert "source_traceback: Object created at (most recent call last):" in message
    assert "asyncio.create_task(fail())" in message


def test_a_pending_task_that_is_destroyed_tells_where_it_was_made(debug_run, records):
    async def wait(future):
        await future

    async def main():
        task = asyncio.create_task(wait(asyncio.get_running_loop().create_future()))
        await asyncio.sleep(0)
        del task
        gc.collect()

    debug_run(main())
    (message,) = [text for level, text in records() if level == "ERROR"]
    assert message.startswith("Task was destroyed but it is pending!")
    assert "asyncio.create_task(wait(" in message


def test_the_stack_of_a_handle_ends_with_its_caller(debug_run):
    async def main():
        handle = asyncio.get_running_loop().call_soon(len, "")
        assert traceback.StackSummary.from_list(handle._source_traceback)[-1].name == "main"

    debug_run(main())


# ---- unclosed resources ------------------------------------------------------------------------


def unclosed(caught):
    return [
        (normalised(str(entry.message)), type(entry.source).__name__)
        for entry in caught
        if entry.category is ResourceWarning
    ]


def test_an_unclosed_transport_warns_and_is_its_source(debug_run):
    async def main():
        near, far = socket.socketpair()
        near.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        transport.pause_reading()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport, _
            gc.collect()
        far.close()
        return unclosed(caught)

    ((message, source),) = debug_run(main())[:1]
    assert message.startswith("unclosed transport <SocketTransport fd=N")
    assert source in ("_SelectorSocketTransport", "SocketTransport")


def test_an_unclosed_loop_warns_and_is_its_source(new_loop):
    loop = new_loop()
    loop.set_debug(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    messages = unclosed(caught)
    assert messages[0][0] == "unclosed event loop <Loop running=False closed=False debug=True>"
    assert messages[0][1] in ("_UnixSelectorEventLoop", "Loop")


# ---- how it is switched on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ([], {}, False),
        ([], {"PYTHONASYNCIODEBUG": "1"}, True),
        ([], {"PYTHONASYNCIODEBUG": ""}, False),
        (["-E"], {"PYTHONASYNCIODEBUG": "1"}, False),
        (["-X", "dev"], {}, True),
        ([], {"PYTHONDEVMODE": "1"}, True),
    ],
)
def test_the_environment_and_dev_mode_switch_it_on(options, environment, expected, new_loop):
    maker = "penstock" if new_loop is penstock.new_event_loop else "asyncio"
    program = (
        f"import {maker}; loop = {maker}.new_event_loop(); print(loop.get_debug()); loop.close()"
    )
    result = subprocess.run(
        [sys.executable, *options, "-c", program],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.strip() == str(expected)


def test_run_takes_debug():
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert penstock.run(main(), debug=True) is True
    assert penstock.run(main(), debug=False) is False
