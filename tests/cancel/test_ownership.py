"""A descriptor has one owner and is closed once, whoever ends what it is for, where and how often.

PENSTOCK_CANCEL_ROUNDS=10000 in the environment repeats each test that often.
"""

import asyncio
import contextlib
import errno
import functools
import gc
import itertools
import resource
import socket
import warnings

import pytest

from tests.descriptors import open_fds

from .census import held_by
from .company import rounds
from .ends import (
    CALLBACKS,
    Ends,
    abort,
    abort_twice,
    close,
    close_twice,
    close_with_something_to_send,
    provoke,
)
from .stage import MORE_THAN_FITS, Tripwire


@contextlib.contextmanager
def no_descriptors():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_sock_accept_without_descriptors(company):
    async def play(stage):
        listener, client = stage.listener(), stage.socket()
        client.connect_ex(listener.getsockname())
        with no_descriptors(), pytest.raises(OSError) as caught:
            await stage.loop.sock_accept(listener)
        assert caught.value.errno == errno.EMFILE
        accepted, _ = await stage.loop.sock_accept(listener)
        accepted.close()

    for _ in rounds(1):
        company.perform(play)


@pytest.mark.penstock_only("asyncio watches the closed socket again")
def test_a_server_closed_without_descriptors(company):
    async def play(stage):
        timers = held_by(stage.loop)["TimerHandle"]
        has_failed = stage.loop.create_future()

        def expects(report):
            return report["message"] == "socket.accept() out of system resource"

        def hear(_, report):
            assert expects(report)
            if not has_failed.done():
                has_failed.set_result(None)

        server = await stage.loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        stage.loop.set_exception_handler(hear)
        client = stage.socket()
        client.connect_ex(server.sockets[0].getsockname())
        with no_descriptors():
            await has_failed
            server.close()
        await server.wait_closed()
        assert held_by(stage.loop)["TimerHandle"] == timers, "it would try again"

    for _ in rounds(1):
        company.perform(play)


@pytest.mark.parametrize(
    "end", [close, abort, close_twice, abort_twice, close_with_something_to_send]
)
@pytest.mark.parametrize("kind", CALLBACKS)
def test_ended_in_a_callback(company, kind, end):
    async def play(callback, stage):
        near, far = stage.pair()
        protocol = kind(callback, end)
        transport, _ = await stage.loop.create_connection(lambda: protocol, sock=near)
        provoke(stage, transport, protocol, callback, far)
        await protocol.lost
        stage.tripwire.set()
        end(transport)
        assert near.fileno() == -1

    callbacks = list(CALLBACKS[kind])
    if "resume_writing" in callbacks and not company.is_penstock:
        callbacks.remove("resume_writing")  # asyncio then closes twice
    for callback in rounds(*callbacks):
        company.perform(functools.partial(play, callback))


@pytest.mark.parametrize("end", [close, abort, close_twice, abort_twice])
def test_ended_by_the_program_and_once_more_by_the_peer(company, end):
    async def play(stage):
        near, far = stage.pair()
        transport, protocol = await stage.loop.create_connection(
            lambda: Ends("connection_lost", end), sock=near
        )
        far.close()
        end(transport)
        await protocol.lost
        assert near.fileno() == -1

    for _ in rounds(1):
        company.perform(play)


@pytest.mark.penstock_only("asyncio loses the connection whose factory closes the server")
def test_a_server_closed_in_its_factory_and_twice(company):
    async def play(stage):
        made = stage.loop.create_future()

        def factory():
            server.close()
            server.close()
            made.set_result(Ends("connection_made", abort))
            return made.result()

        server = await stage.loop.create_server(factory, "127.0.0.1", 0)
        client = stage.socket()
        client.connect_ex(server.sockets[0].getsockname())
        await (await made).lost
        await server.wait_closed()
        server.close()

    for _ in rounds(1):
        company.perform(play)


def test_a_call_that_was_cancelled_before_it_began_has_taken_nothing(company):
    async def play(stage):
        near, _ = stage.pair()
        task = asyncio.create_task(stage.loop.create_connection(asyncio.Protocol, sock=near))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert near.fileno() != -1

    for _ in rounds(1):
        company.perform(play)


def test_a_loop_closed_twice_with_all_it_has(new_loop):
    async def open_all(loop, sockets):
        listener, first, second, third, _ = sockets
        await loop.create_server(asyncio.Protocol, sock=listener)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=first)
        transport.write(MORE_THAN_FITS)
        loop.add_reader(second, print)
        waiting = asyncio.ensure_future(loop.sock_recv(third, 1))
        looking = asyncio.ensure_future(loop.getaddrinfo("localhost", 80))
        await asyncio.sleep(0)
        for task in (waiting, looking):
            task.cancel()
        await asyncio.wait([waiting, looking])
        loop.call_later(1000, print)

    for _ in rounds(1):
        before = open_fds()
        sockets = [socket.create_server(("127.0.0.1", 0))]
        sockets += itertools.chain(socket.socketpair(), socket.socketpair())
        for sock in sockets:
            sock.setblocking(False)
        loop = new_loop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # transports and servers left open
            loop.run_until_complete(open_all(loop, sockets))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            loop.close()
            del loop
            for sock in sockets:
                sock.close()
            tripwire = Tripwire()
            tripwire.set()
            gc.collect()
            tripwire.check()
            tripwire.close()
        assert open_fds() == before
