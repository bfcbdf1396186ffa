"""Cancellation at every await point: nothing is left open, nothing of others is closed.

A call is cancelled after no turn of the loop, after one, after two and so on, until it completes
before we get to it; each time the descriptors must be what they were, and an unrelated connection
must still work.
"""

import asyncio
import gc
import os
import socket

import pytest

pytestmark = pytest.mark.penstock_only("asyncio leaks some of these")


class Bystander:
    """A connection that has nothing to do with it all."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()

    def check(self):
        self.ours.send(b"still here")
        assert self.theirs.recv(100) == b"still here"

    def close(self):
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def bystander():
    bystander = Bystander()
    yield bystander
    bystander.close()


async def settle(fds, before):
    """Let pass what follows a cancellation; a look-up in a thread may have files open meanwhile."""
    for _ in range(3):
        await asyncio.sleep(0)
    for _ in range(1000):
        if fds().keys() == before.keys():
            break
        await asyncio.sleep(0.001)


async def cancel_everywhere(call, undo, fds, bystander):
    """Cancel `call()` ever later until it returns, which `undo(result)` then takes back."""
    loop = asyncio.get_running_loop()
    # What the loop opens once, it opens now.
    await undo(await call())
    await loop.run_in_executor(None, int)
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    before = fds()
    turns = attempts = 0
    while True:
        task = asyncio.create_task(call())
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = task.cancel()
        try:
            result = await task
        except asyncio.CancelledError:
            assert cancelled
        else:
            await undo(result)
            if not cancelled:
                break
        await settle(fds, before)
        left = {fd: what for fd, what in fds().items() if fd not in before}
        assert not left, f"cancelled after {turns} turns"
        bystander.check()
        attempts += 1
        turns += 1 + turns // 10
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return attempts


async def close_transport(result):
    transport, _ = result
    transport.close()
    await asyncio.sleep(0)


async def close_server(server):
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("options", [{}, {"happy_eyeballs_delay": 0.001}])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_create_connection(listening, fds, bystander, host, options):
    loop = asyncio.get_running_loop()
    port = listening.getsockname()[1]
    listening.listen(1000)
    assert await cancel_everywhere(
        lambda: loop.create_connection(asyncio.Protocol, host, port, **options),
        close_transport,
        fds,
        bystander,
    )


async def test_create_connection_with_happy_eyeballs_over_several(
    listening, unused_port, fds, bystander, monkeypatch
):
    loop = asyncio.get_running_loop()
    listening.listen(1000)
    answer = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for address in (
            ("127.0.0.1", unused_port),
            listening.getsockname(),
            listening.getsockname(),
        )
    ]

    async def getaddrinfo(*args, **kwargs):
        await asyncio.sleep(0)
        return answer

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    assert await cancel_everywhere(
        lambda: loop.create_connection(asyncio.Protocol, "name", 1, happy_eyeballs_delay=0),
        close_transport,
        fds,
        bystander,
    )


async def test_create_connection_of_a_socket(listening, fds, bystander):
    """From the transport's creation on the socket is the transport's, which closes it once."""
    loop = asyncio.get_running_loop()
    listening.listen(1000)
    sockets = []

    async def connect():
        sock = socket.create_connection(listening.getsockname())
        sockets.append(sock)
        try:
            return await loop.create_connection(asyncio.Protocol, sock=sock)
        except asyncio.CancelledError:
            # A fresh descriptor may get the number at once: it must not be closed as well.
            for _ in range(3):
                await asyncio.sleep(0)
            assert sock.fileno() == -1
            raise

    assert await cancel_everywhere(connect, close_transport, fds, bystander)


async def test_a_task_that_never_ran_leaves_the_socket_alone(listening):
    loop = asyncio.get_running_loop()
    with socket.create_connection(listening.getsockname()) as sock:
        task = asyncio.create_task(loop.create_connection(asyncio.Protocol, sock=sock))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sock.fileno() != -1


async def test_sock_connect(listening, fds, bystander):
    loop = asyncio.get_running_loop()
    listening.listen(1000)
    port = listening.getsockname()[1]

    async def connect():
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("localhost", port))

    async def undo(result):
        pass

    assert await cancel_everywhere(connect, undo, fds, bystander)


async def test_sock_connect_that_gets_no_answer(fds, bystander):
    loop = asyncio.get_running_loop()
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        for turns in range(20):
            with socket.socket() as sock:
                sock.setblocking(False)
                task = asyncio.create_task(loop.sock_connect(sock, listener.getsockname()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert sock.fileno() != -1
            bystander.check()


async def test_sock_accept(listening, fds, bystander):
    """A connection that arrives while the call is cancelled is not lost."""
    loop = asyncio.get_running_loop()
    for turns in range(10):
        task = asyncio.create_task(loop.sock_accept(listening))
        await asyncio.sleep(0)
        with socket.create_connection(listening.getsockname()) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task
                connection, address = await loop.sock_accept(listening)
            else:
                connection, address = await task
            with connection:
                assert address == client.getsockname()
        bystander.check()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ["127.0.0.1", "127.0.0.2"]])
async def test_create_server(fds, bystander, host):
    loop = asyncio.get_running_loop()
    assert await cancel_everywhere(
        lambda: loop.create_server(asyncio.Protocol, host, 0), close_server, fds, bystander
    )


async def test_create_server_on_a_socket_of_ones_own(bystander):
    loop = asyncio.get_running_loop()
    for turns in range(3):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            task = asyncio.create_task(loop.create_server(asyncio.Protocol, sock=sock))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                await close_server(task.result())
                continue
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sock.fileno() != -1
            # Nobody accepts on it any more.
            sock.listen()
            with socket.create_connection(sock.getsockname()):
                for _ in range(3):
                    await asyncio.sleep(0)
                sock.accept()[0].close()
        bystander.check()


async def test_create_unix_connection(tmp_path, fds, bystander):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen(1000)
        assert await cancel_everywhere(
            lambda: loop.create_unix_connection(asyncio.Protocol, tmp_path / "socket"),
            close_transport,
            fds,
            bystander,
        )


async def test_create_unix_server(tmp_path, fds, bystander):
    loop = asyncio.get_running_loop()
    path = tmp_path / "socket"
    assert await cancel_everywhere(
        lambda: loop.create_unix_server(asyncio.Protocol, path, cleanup_socket=True),
        close_server,
        fds,
        bystander,
    )
    assert not path.exists()


@pytest.mark.parametrize("direction", ["read", "write"])
async def test_connect_a_pipe(fds, bystander, direction):
    loop = asyncio.get_running_loop()
    others = []

    async def connect():
        reading, writing = os.pipe()
        if direction == "read":
            others.append(writing)
            return await loop.connect_read_pipe(asyncio.Protocol, open(reading, "rb", 0))
        others.append(reading)
        return await loop.connect_write_pipe(asyncio.Protocol, open(writing, "wb", 0))

    async def call():
        try:
            return await connect()
        finally:
            os.close(others.pop())

    assert await cancel_everywhere(call, close_transport, fds, bystander)


async def test_connect_accepted_socket(listening, fds, bystander):
    loop = asyncio.get_running_loop()
    listening.listen(1000)

    async def accept():
        with socket.create_connection(listening.getsockname()):
            connection, _ = await loop.sock_accept(listening)
            return await loop.connect_accepted_socket(asyncio.Protocol, connection)

    assert await cancel_everywhere(accept, close_transport, fds, bystander)
