"""Small writes of one turn leave together at its end, and as if they had left at once."""

import asyncio
import contextlib
import os
import select
import socket

import pytest

from .conftest import tcp_pair


class Protocol(asyncio.Protocol):
    """One that has attributes."""


async def turns():
    for _ in range(3):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def three():
    """Of each a transport and its peer's socket."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(3):
        near, far = tcp_pair()
        transport, _ = await loop.create_connection(Protocol, sock=near)
        made.append((transport, far))
    yield made
    for transport, far in made:
        transport.abort()
        far.close()
    await turns()


def is_there(sock):
    return bool(select.select([sock], [], [], 0)[0])


async def busy(action):
    """Calls it while another callback is due in the same turn."""
    done = asyncio.get_running_loop().create_future()

    def act():
        try:
            done.set_result(action())
        except BaseException as error:
            done.set_exception(error)

    loop = asyncio.get_running_loop()
    loop.call_soon(act)
    loop.call_soon(lambda: None)
    return await done


async def test_alone_it_leaves_at_once():
    async with three() as connections:
        (transport, far), *_ = connections
        await asyncio.sleep(0)
        transport.write(b"x")
        assert far.recv(10) == b"x"


async def test_of_several_each_leaves_within_the_turn():
    async with three() as connections:

        def write():
            for number, (transport, _) in enumerate(connections):
                transport.write(b"%d" % number)
                transport.writelines([b"a", b"b"])
                assert transport.get_write_buffer_size() == 0

        await busy(write)
        for number, (_, far) in enumerate(connections):
            assert far.recv(10) == b"%dab" % number


async def test_the_order_is_kept():
    async with three() as connections:
        large = b"L" * 100_000
        received = []

        def write():
            for _ in range(2):
                for transport, _ in connections:
                    transport.write(b"1")
                    transport.write(large)
                    transport.write(b"2")

        await busy(write)
        for transport, far in connections:
            transport.close()
            far.settimeout(None)
            received.append(await asyncio.to_thread(far.makefile("rb").read))
        assert received == [(b"1" + large + b"2") * 2] * 3


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
async def test_it_leaves_before_the_end(end):
    async with three() as connections:
        (transport, far), *_ = connections

        def write():
            transport.write(b"last words")
            getattr(transport, end)()

        await busy(write)
        assert far.recv(100) == b"last words"
        assert far.recv(100) == b""


async def test_it_leaves_before_a_file(tmp_path):
    async with three() as connections:
        (transport, far), *_ = connections
        (tmp_path / "file").write_bytes(b"content")
        loop = asyncio.get_running_loop()
        with open(tmp_path / "file", "rb") as file:

            async def send():
                transport.write(b"head ")
                await loop.sendfile(transport, file)

            await asyncio.gather(send(), asyncio.sleep(0))
        assert far.recv(100) == b"head content"


async def test_an_error_ends_the_connection_with_it():
    async with three() as connections:
        (transport, far), (_, other), *_ = connections
        lost = asyncio.get_running_loop().create_future()
        transport.get_protocol().connection_lost = lost.set_result
        transport.pause_reading()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        await busy(lambda: transport.write(b"x"))
        assert isinstance(await lost, ConnectionError)
        assert not is_there(other)


async def test_what_the_kernel_does_not_take_pauses_the_protocol():
    async with three() as connections:
        (transport, far), *_ = connections
        paused = []
        transport.get_protocol().pause_writing = lambda: paused.append(True)
        transport.get_protocol().resume_writing = lambda: paused.append(False)
        transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        written = 0

        def write():
            transport.write(b"x" * 8000)

        while not transport.get_write_buffer_size():
            await busy(write)
            written += 8000
        assert paused == [True]
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        while written:
            written -= len(await loop.sock_recv(far, 100_000))
        assert not transport.get_write_buffer_size()
        assert paused == [True, False]


@pytest.mark.penstock_only("a child that returns into asyncio's loop shares its parent's epoll")
async def test_a_child_of_fork_sends_nothing_of_its_parents():
    async with three() as connections:
        (transport, far), *_ = connections

        def write():
            transport.write(b"once")
            child = os.fork()
            if child == 0:
                transport.abort()
                os._exit(0)
            os.waitpid(child, 0)

        await busy(write)
        assert far.recv(100) == b"once"
        assert not is_there(far)


def leave_by_stop():
    asyncio.get_running_loop().stop()


def leave_by_exception():
    raise SystemExit


@pytest.mark.parametrize("leave", [leave_by_stop, leave_by_exception])
def test_it_leaves_before_the_run_ends(new_loop, leave):
    loop = new_loop()
    near, far = tcp_pair()
    with far:
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))

        def write():
            transport.write(b"x")
            leave()

        loop.call_soon(write)
        loop.call_soon(lambda: None)
        if leave is leave_by_exception:
            with pytest.raises(SystemExit):
                loop.run_forever()
        else:
            loop.run_forever()
        assert far.recv(10) == b"x"
        transport.abort()
        loop.run_until_complete(turns())
        loop.close()
