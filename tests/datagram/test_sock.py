"""sock_recvfrom, sock_recvfrom_into and sock_sendto."""

import asyncio
import socket

import pytest


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


async def test_recvfrom_at_once_and_later(sock, peer):
    loop = asyncio.get_running_loop()
    peer.sendto(b"ready", sock.getsockname())
    assert await loop.sock_recvfrom(sock, 100) == (b"ready", peer.getsockname())
    task = asyncio.create_task(loop.sock_recvfrom(sock, 3))
    await asyncio.sleep(0)
    peer.sendto(b"later", sock.getsockname())
    assert await task == (b"lat", peer.getsockname())


async def test_recvfrom_into(sock, peer):
    loop = asyncio.get_running_loop()
    buffer = bytearray(10)
    task = asyncio.create_task(loop.sock_recvfrom_into(sock, memoryview(buffer)[2:]))
    await asyncio.sleep(0)
    peer.sendto(b"hello", sock.getsockname())
    assert await task == (5, peer.getsockname())
    assert buffer == b"\0\0hello\0\0\0"
    peer.sendto(b"world", sock.getsockname())
    assert await loop.sock_recvfrom_into(sock, buffer, 2) == (2, peer.getsockname())
    assert buffer[:3] == b"wo" + b"h"
    with pytest.raises(ValueError):
        await loop.sock_recvfrom_into(sock, buffer, 100)


async def test_sendto(sock, peer):
    loop = asyncio.get_running_loop()
    assert await loop.sock_sendto(sock, b"hello", peer.getsockname()) == 5
    assert peer.recvfrom(10) == (b"hello", sock.getsockname())
    with pytest.raises(PermissionError):
        await loop.sock_sendto(sock, b"x", ("255.255.255.255", 9))
    with pytest.raises(TypeError):
        await loop.sock_sendto(sock, b"x", None)


async def test_sendto_waits_for_room(tmp_path):
    loop = asyncio.get_running_loop()
    near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = str(tmp_path / "far")
    with near, far:
        far.bind(path)
        near.setblocking(False)
        far.setblocking(False)
        sent = 0
        try:
            while True:
                near.sendto(b"x", path)
                sent += 1
        except BlockingIOError:
            pass
        task = asyncio.create_task(loop.sock_sendto(near, b"waited", path))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
        for _ in range(sent):
            assert await loop.sock_recvfrom(far, 10) == (b"x", None)
        assert await task == 6
        assert await loop.sock_recv(far, 10) == b"waited"


async def test_both_ways(sock, peer):
    loop = asyncio.get_running_loop()
    peer.setblocking(False)

    async def answer():
        while True:
            data, address = await loop.sock_recvfrom(peer, 100)
            await loop.sock_sendto(peer, data[::-1], address)

    task = asyncio.create_task(answer())
    for number in range(300):
        await loop.sock_sendto(sock, b"%d" % number, peer.getsockname())
        assert (await loop.sock_recvfrom(sock, 10))[0] == (b"%d" % number)[::-1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.penstock_only("asyncio receives before it knows whether anybody still waits")
async def test_a_cancelled_one_loses_nothing(sock, peer):
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_recvfrom(sock, 10))
    await asyncio.sleep(0)
    peer.sendto(b"kept", sock.getsockname())
    await asyncio.sleep(0)
    task.cancel()
    try:
        received = await task
    except asyncio.CancelledError:
        received = await loop.sock_recvfrom(sock, 10)
    assert received == (b"kept", peer.getsockname())


async def test_debug_mode_refuses_a_socket_that_blocks(peer):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    for call in (
        loop.sock_recvfrom(peer, 1),
        loop.sock_recvfrom_into(peer, bytearray(1)),
        loop.sock_sendto(peer, b"x", peer.getsockname()),
    ):
        with pytest.raises(ValueError, match="^the socket must be non-blocking$"):
            await call
