"""Python code that runs where nobody expects it: arguments, destructors and names that turn
against the loop while it reads them."""

import asyncio
import gc
import os
import socket
import sys
import warnings

import penstock
import pytest

pytestmark = pytest.mark.skipif(
    not issubclass(penstock.Task, asyncio.Task) or penstock.Task is asyncio.Task,
    reason="the native Task is not in use",
)


async def nothing():
    pass


async def test_a_destructor_that_awaits_does_not_change_what_another_await_gives():
    loop = asyncio.get_running_loop()
    first, second, stolen = (loop.create_future() for _ in range(3))
    stolen.set_result("another's")

    class Awaits:
        def __del__(self):
            for _ in iter(stolen):
                pass

    loop.call_soon(first.set_result, Awaits())
    await first
    first = None
    second.set_result("mine")
    assert await second == "mine"


@pytest.mark.penstock_only("asyncio crashes where a task loses the coroutine that it runs")
def test_a_task_that_is_initialised_again_in_its_own_step(new_loop):
    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)

    async def initialises_itself():
        asyncio.current_task().__init__(nothing(), loop=loop)
        return [None] * 100

    task = loop.create_task(initialises_itself())
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    loop.close()
    assert task.done()


@pytest.mark.penstock_only("there is no list of native tasks")
def test_a_name_that_initialises_its_task(loop):
    calls = []

    class Name:
        def __str__(self):
            calls.append(self)
            if len(calls) == 1:
                task.__init__(nothing(), loop=loop, name=Name())
            return "name"

    task = penstock.Task.__new__(penstock.Task)
    task.__init__(nothing(), loop=loop, name=Name())
    assert asyncio.all_tasks(loop) == {task}
    loop.run_until_complete(task)
    assert asyncio.all_tasks(loop) == set()


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="asyncio refuses that from 3.15 on")
@pytest.mark.penstock_only("a native task that asyncio takes over")
def test_a_task_that_goes_to_another_loop_forgets_its_first(new_loop):
    first, second = new_loop(), asyncio.SelectorEventLoop()
    task = first.create_task(nothing())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.Task.__init__(task, nothing(), loop=second)
        first.close()
        del first
        gc.collect()
    second.run_until_complete(task)
    second.close()
    del task
    gc.collect()


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_a_delay_that_closes_the_loop(loop, method):
    class Delay:
        def __float__(self):
            loop.close()
            return 0.0

        def __add__(self, other):
            loop.close()
            return other

        __radd__ = __add__

    if isinstance(loop, penstock.Loop):
        with pytest.raises(RuntimeError, match="closed"):
            getattr(loop, method)(Delay(), print)
    assert loop.is_closed() == isinstance(loop, penstock.Loop)


@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.penstock_only("asyncio asks for the fd in another order")
def test_a_file_that_closes_the_loop(loop, method, at):
    calls = []

    class File:
        def fileno(self):
            calls.append(self)
            if len(calls) == at:
                loop.close()
            return 0

    if method.startswith("add"):
        with pytest.raises(RuntimeError, match="closed"):
            getattr(loop, method)(File(), print)
    else:
        assert getattr(loop, method)(File()) is False


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no __buffer__() in Python")
@pytest.mark.penstock_only("asyncio copies or joins")
async def test_a_buffer_that_empties_the_list_that_is_written():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    lines = []

    class Empties:
        def __buffer__(self, flags):
            lines.clear()
            self.kept = [bytes([66]) * 5000 for _ in range(50)]
            return memoryview(b"zz")

    lines += [bytes([65]) * 5000, Empties()]
    with theirs:
        transport.writelines(lines)
        assert set(theirs.recv(100_000)) == set(b"Az")
    transport.abort()


@pytest.mark.penstock_only("a loop of ours whose call_soon() is somebody else's")
def test_a_call_soon_that_drops_the_fd_that_is_served():
    first, second = socket.socketpair()

    class Drops(penstock.Loop):
        is_armed = False

        def call_soon(self, *args, **keywords):
            if self.is_armed:
                self._forget_fd(first)
            return super().call_soon(*args, **keywords)

    async def main(loop):
        waiting = [loop._wait_readable(first) for _ in range(3)]
        waiting += [loop._wait_writable(first) for _ in range(3)]
        for future in waiting:
            future.add_done_callback(lambda _: None)
        loop.is_armed = True
        second.send(b"x")
        await asyncio.sleep(0.05)
        loop.is_armed = False

    first.setblocking(False)
    loop = Drops()
    with first, second:
        loop.run_until_complete(main(loop))
        loop.close()


@pytest.mark.penstock_only("asyncio's is not whole by then either")
async def test_a_transport_that_comes_back_from_its_finalizer(monkeypatch):
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    found = []
    monkeypatch.setattr(warnings, "_showwarnmsg", lambda message: found.append(message.source))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.pause_reading()
        del transport, ours
        gc.collect()
    theirs.close()
    (transport,) = [source for source in found if isinstance(source, asyncio.Transport)]
    for name in ("pause_reading", "resume_reading", "write_eof", "close", "abort"):
        getattr(transport, name)()
    assert transport.is_closing()
    assert not transport.is_reading()


class Vengeful(bytes):
    """Bytes that act as they go."""

    act = None

    def __del__(self):
        if self.act is not None:
            self.act()


@pytest.mark.penstock_only("asyncio keeps no piece by itself")
@pytest.mark.parametrize("act", ["disown", "lose", "write"])
async def test_a_queued_piece_that_ends_its_transport_as_it_goes(act):
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    file = open(writing, "wb", 0)  # noqa: SIM115
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, file)
    acted = []

    def go():
        acted.append(act)
        if act == "disown":
            transport._pipe = None
        elif act == "lose":
            transport._call_connection_lost(None)
        else:
            transport.write(b"more")

    piece = Vengeful(1_000_000)
    piece.act = go
    transport.write(piece)
    del piece
    transport._call_connection_lost(None)
    assert acted == [act]
    assert transport.is_closing() and transport._pipe is None
    assert file.closed
    os.close(reading)


@pytest.mark.penstock_only("asyncio has no such method")
def test_a_pid_that_closes_the_loop(loop):
    class Pid:
        def __index__(self):
            loop.close()
            return os.getpid()

    with pytest.raises(RuntimeError, match="closed"):
        loop._watch_child(Pid(), print)
