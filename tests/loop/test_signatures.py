"""Names and kinds of parameters: what inspect.signature() and help() show, and calls by name."""

import asyncio
import contextlib
import contextvars
import inspect
import re
import socket

import penstock
import pytest

METHODS = sorted(name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_"))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_signature(loop, name):
    names = [*inspect.signature(getattr(asyncio.AbstractEventLoop, name)).parameters][1:]
    parameters = inspect.signature(getattr(loop, name)).parameters
    # Beside those that AbstractEventLoop knows, a loop may have more.
    positional = [n for n in names if n in parameters]
    assert positional or not names
    assert [n for n in parameters if n in positional] == positional


@pytest.mark.penstock_only("the standard library leaves some to AbstractEventLoop")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_does(loop, name):
    assert getattr(loop, name).__doc__


# A program that was written for asyncio may name any of its parameters, and leave out all others.

PAIRS = [
    (asyncio.unix_events._UnixSelectorEventLoop, penstock.Loop),
    (asyncio.Handle, penstock._core.Handle),
    (asyncio.TimerHandle, penstock._core.TimerHandle),
    (asyncio.Future, penstock._core.Future),
    (asyncio.Task, penstock._core.Task),
    (asyncio.Server, penstock._server.Server),
    (asyncio.selector_events._SelectorSocketTransport, penstock._core.SocketTransport),
    (asyncio.selector_events._SelectorDatagramTransport, penstock._core.DatagramTransport),
    (asyncio.unix_events._UnixReadPipeTransport, penstock._core.ReadPipeTransport),
    (asyncio.unix_events._UnixWritePipeTransport, penstock._core.WritePipeTransport),
    (asyncio.sslproto._SSLProtocolTransport, penstock._core.SSLTransport),
    (asyncio.base_subprocess.BaseSubprocessTransport, penstock._process.SubprocessTransport),
]
# Its documentation says nbytes, its loop n.
OTHER_NAMES = {("Loop", "sock_recv")}


def public_methods():
    for theirs, ours in PAIRS:
        for name in dir(theirs):
            method = getattr(theirs, name)
            is_ours = getattr(ours, name, None) is not method
            is_left_out = name.startswith("_") or (ours.__name__, name) in OTHER_NAMES
            if is_ours and callable(method) and not is_left_out:
                yield pytest.param(method, ours, name, id=f"{ours.__name__}.{name}")


@pytest.mark.parametrize(("theirs", "ours", "name"), [*public_methods()])
def test_a_method_has_asyncio_s_parameters(theirs, ours, name):
    expected = [*inspect.signature(theirs).parameters.values()][1:]  # without `self`
    found = [*inspect.signature(getattr(ours, name)).parameters.values()][1:]
    known = {one.name for one in expected}
    for one in found:
        is_rest = one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        assert one.name in known or is_rest or one.default is not one.empty
    assert [(one.name, one.kind, one.default) for one in found if one.name in known] == [
        (one.name, one.kind, one.default) for one in expected
    ]


def test_scheduling_by_name(loop):
    seen = []
    context = contextvars.copy_context()
    loop.call_soon(callback=lambda: seen.append("soon"))
    loop.call_soon(context=context, callback=lambda: seen.append("in a context"))
    loop.call_soon_threadsafe(callback=lambda: seen.append("from a thread"))
    loop.call_later(0, callback=lambda: seen.append("later"))
    loop.call_later(callback=lambda: seen.append("later by name"), delay=0)
    loop.call_at(loop.time() + 0.001, callback=lambda: seen.append("at"))
    loop.call_at(callback=loop.stop, when=loop.time() + 0.002, context=context)
    loop.run_forever()
    assert sorted(seen) == sorted(
        ["soon", "in a context", "from a thread", "later", "later by name", "at"]
    )


def test_switches_by_name(loop):
    loop.set_debug(enabled=True)
    assert loop.get_debug()

    def factory(loop, coro, **options):
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(factory=factory)
    assert loop.get_task_factory() is factory
    seen = []

    def other(loop, coro, **options):
        seen.append(options)
        return factory(loop, coro, **options)

    loop.set_task_factory(other)
    loop.run_until_complete(loop.create_task(coro=asyncio.sleep(0)))
    assert len(seen) == 1
    assert "coro" not in seen[0]


def test_watching_by_name(loop):
    seen = []
    sock, peer = socket.socketpair()
    with sock, peer:
        peer.send(b"x")
        loop.add_writer(fd=sock, callback=lambda: seen.append("writer"))
        loop.add_reader(sock, callback=lambda: (seen.append("reader"), loop.stop()))
        loop.run_forever()
        assert loop.remove_writer(fd=sock)
        assert loop.remove_reader(fd=sock)
        assert not loop.remove_reader(fd=sock)
    assert sorted(seen) == ["reader", "writer"]


async def test_a_tasks_cancel_by_name():
    task = asyncio.create_task(asyncio.sleep(10))
    assert task.cancel(msg="enough")
    with pytest.raises(asyncio.CancelledError):
        await task


def nothing():
    """A callback."""


WRONG = [
    (lambda loop: loop.call_soon(), "call_soon"),
    (lambda loop: loop.call_soon(wrong=1), "call_soon"),
    (lambda loop: loop.call_soon(nothing, callback=nothing), "call_soon"),
    (lambda loop: loop.call_soon(nothing, context=None, more=1), "call_soon"),
    (lambda loop: loop.call_soon_threadsafe(context=None), "call_soon_threadsafe"),
    (lambda loop: loop.call_later(), "call_later"),
    (lambda loop: loop.call_later(1), "call_later"),
    (lambda loop: loop.call_later(callback=nothing), "call_later"),
    (lambda loop: loop.call_later(nothing, delay=1), "call_later"),
    (lambda loop: loop.call_later(None), "call_later"),
    (lambda loop: loop.call_at(), "call_at"),
    (lambda loop: loop.call_at(1, nothing, when=1), "call_at"),
    (lambda loop: loop.call_at(1, nothing, delay=1), "call_at"),
    (lambda loop: loop.add_reader(), "add_reader"),
    (lambda loop: loop.add_reader(0), "add_reader"),
    (lambda loop: loop.add_reader(0, nothing, 1, context=None), "add_reader"),
    (lambda loop: loop.add_writer(callback=nothing), "add_writer"),
    (lambda loop: loop.remove_reader(), "remove_reader"),
    (lambda loop: loop.remove_writer(0, 1), "remove_writer"),
    (lambda loop: loop.remove_writer(0, fd=1), "remove_writer"),
    (lambda loop: loop.set_debug(), "set_debug"),
    (lambda loop: loop.set_debug(wrong=True), "set_debug"),
    (lambda loop: loop.set_debug(True, False), "set_debug"),
    (lambda loop: loop.set_task_factory(), "set_task_factory"),
    (lambda loop: loop.create_task(), "create_task"),
    (lambda loop: loop.create_task(1, 2), "create_task"),
    (lambda loop: loop.create_task(1, coro=2), "create_task"),
]


def without_class(error):
    return re.sub(r"\w+\.(\w+\(\))", r"\1", str(error))


@pytest.mark.parametrize(("call", "name"), WRONG)
def test_wrong_arguments(new_loop, call, name):
    """In the words of Python's own functions, but for the name of the class."""
    stock = asyncio.new_event_loop()
    loop = new_loop()
    with contextlib.closing(stock), contextlib.closing(loop):
        with pytest.raises(TypeError) as expected:
            call(stock)
        with pytest.raises(TypeError) as found:
            call(loop)
    assert without_class(found.value) == without_class(expected.value)
    assert f"{name}()" in str(found.value)
