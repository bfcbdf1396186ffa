"""What test_ownership asks, about TLS, pipes, datagram endpoints and unix sockets: a descriptor has
one owner and is closed once, whoever ends what it is for, where and how often.

PENSTOCK_CANCEL_ROUNDS=10000 in the environment repeats each test that often.
"""

import asyncio
import contextlib
import functools
import gc
import socket
import warnings

import pytest

from tests.descriptors import open_fds

from . import links
from .calls import tls
from .company import rounds
from .ends import Ends, abort, abort_twice, close, close_twice, close_with_something_to_send
from .stage import MORE_THAN_FITS, Stage, Tripwire

WAYS = [close, abort, close_twice, abort_twice, close_with_something_to_send]
PATIENCE = 10  # seconds


def is_closed(file):
    return file.closed if hasattr(file, "closed") else file.fileno() == -1


def needs(company, link, end):
    """Skips what a kind of transport can't do: only streams can write() and abort()."""
    if link.make is links.write_pipe and not company.is_penstock:
        pytest.skip("asyncio closes twice, or fails to")
    if link.make is links.read_pipe and end not in (close, close_twice):
        pytest.skip("a ReadTransport can only be closed")
    if link.make is links.datagrams and end is close_with_something_to_send:
        pytest.skip("a DatagramTransport has no write()")


async def is_over(protocol, file):
    async with asyncio.timeout(PATIENCE):
        await protocol.lost
    for _ in range(10):
        if is_closed(file):
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{file} is still open")


@pytest.mark.parametrize("end", WAYS)
@pytest.mark.parametrize("link", links.LINKS, ids=str)
def test_ended_in_a_callback(company, link, end):
    needs(company, link, end)

    async def play(callback, stage):
        protocol = link.kind(callback, end)
        transport, file, act = await link.make(stage, protocol, callback)
        if act is not None and not transport.is_closing():
            act()
        await is_over(protocol, file)
        assert callback in protocol.called
        stage.tripwire.set()
        end(transport)

    callbacks = list(link.callbacks)
    if "resume_writing" in callbacks and not company.is_penstock:
        callbacks.remove("resume_writing")  # asyncio then closes twice
    for callback in rounds(*callbacks):
        company.perform(functools.partial(play, callback))


@pytest.mark.parametrize("end", [close, abort, close_twice, abort_twice])
@pytest.mark.parametrize("link", [link for link in links.LINKS if link.kind is Ends], ids=str)
def test_ended_by_the_program_and_once_more_by_the_peer(company, link, end):
    needs(company, link, end)

    async def play(stage):
        protocol = Ends("connection_lost", end)
        transport, file, act = await link.make(stage, protocol, "connection_lost")
        if act is not None:
            act()
        end(transport)
        await is_over(protocol, file)

    for _ in rounds(1):
        company.perform(play)


def over_tls(stage):
    near, _ = stage.pair()
    return near, stage.loop.create_connection(
        asyncio.Protocol, sock=near, ssl=tls.contexts()[0], server_hostname="localhost"
    )


def accepted_over_tls(stage):
    near, _ = stage.pair()
    return near, stage.loop.connect_accepted_socket(asyncio.Protocol, near, ssl=tls.contexts()[1])


def from_a_pipe(stage):
    reading, _ = stage.pipe()
    return reading, stage.loop.connect_read_pipe(asyncio.Protocol, reading)


def into_a_pipe(stage):
    _, writing = stage.pipe()
    return writing, stage.loop.connect_write_pipe(asyncio.Protocol, writing)


def of_datagrams(stage):
    sock = stage.socket(kind=socket.SOCK_DGRAM)
    return sock, stage.loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)


def over_a_unix_socket(stage):
    near, _ = stage.pair()
    return near, stage.loop.create_unix_connection(asyncio.Protocol, sock=near)


def at_a_unix_socket(stage):
    sock = stage.socket(socket.AF_UNIX)
    sock.bind(f"{stage.folder()}/socket")
    return sock, stage.loop.create_unix_server(asyncio.Protocol, sock=sock)


CALLS = [
    over_tls,
    accepted_over_tls,
    from_a_pipe,
    into_a_pipe,
    of_datagrams,
    over_a_unix_socket,
    at_a_unix_socket,
]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_was_cancelled_before_it_began_has_taken_nothing(company, call):
    async def play(stage):
        file, coroutine = call(stage)
        task = asyncio.create_task(coroutine)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_closed(file)

    for _ in rounds(1):
        company.perform(play)


def test_start_tls_that_was_cancelled_before_it_began_leaves_the_connection(company):
    async def play(stage):
        near, far = stage.pair()
        protocol = Ends("data_received", close)
        transport, _ = await stage.loop.create_connection(lambda: protocol, sock=near)
        task = asyncio.create_task(
            stage.loop.start_tls(transport, protocol, tls.contexts()[0], server_hostname="x")
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        far.send(b"x")
        await is_over(protocol, near)

    for _ in rounds(1):
        company.perform(play)


def test_a_loop_closed_twice_with_all_it_has(new_loop):
    async def open_all(stage):
        loop = stage.loop
        near, far = stage.pair()
        await asyncio.gather(
            loop.create_connection(
                asyncio.Protocol, sock=near, ssl=tls.contexts()[0], server_hostname="localhost"
            ),
            loop.connect_accepted_socket(asyncio.Protocol, far, ssl=tls.contexts()[1]),
        )
        for call in (from_a_pipe, into_a_pipe, of_datagrams, over_a_unix_socket, at_a_unix_socket):
            await call(stage)[1]
        _, writing = stage.pipe()
        made = await loop.connect_write_pipe(asyncio.Protocol, writing)
        made[0].write(MORE_THAN_FITS)
        hanging = asyncio.ensure_future(over_tls(stage)[1])
        await asyncio.sleep(0)
        hanging.cancel()
        await asyncio.wait([hanging])

    for _ in rounds(1):
        before = open_fds()
        loop = new_loop()
        with warnings.catch_warnings(), contextlib.ExitStack() as afterwards:
            warnings.simplefilter("ignore", ResourceWarning)  # transports and servers left open
            with Stage(loop) as stage:
                loop.run_until_complete(open_all(stage))
                loop.close()
                loop.close()
                del loop, stage.loop
            tripwire = Tripwire()
            afterwards.callback(tripwire.close)
            tripwire.set()
            gc.collect()
            tripwire.check()
        del stage
        assert open_fds() == before
