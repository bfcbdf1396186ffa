"""UDP and Unix datagrams, and look-ups, which need no server.

A port may have been another job's a moment ago, for which something is still on its way: what was
not asked for is passed over.
"""

import asyncio
import random
import socket

from tests.soak.ground import Ground

from . import kind


class Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: object) -> None:
        self.queue.put_nowait(data)


@kind()
async def udp(ground: Ground, rng: random.Random) -> None:
    transport, protocol = await ground.loop.create_datagram_endpoint(
        Answers, remote_addr=ground.udp_address
    )
    try:
        for _ in range(rng.randint(1, 6)):
            data = ground.data[: rng.randint(1, 1000)]
            transport.sendto(data)
            while await protocol.queue.get() != data:
                pass
    finally:
        rng.choice((transport.close, transport.abort))()


@kind()
async def udp_to_nobody(ground: Ground, rng: random.Random) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    transport, _ = await ground.loop.create_datagram_endpoint(Answers, remote_addr=address)
    try:
        for _ in range(3):
            transport.sendto(b"anybody?")
            await asyncio.sleep(0)
    finally:
        transport.close()


@kind()
async def udp_sockets(ground: Ground, rng: random.Random) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        await ground.loop.sock_sendto(sock, b"hello", ground.udp_address)
        while await ground.loop.sock_recvfrom(sock, 2000) != (b"hello", ground.udp_address):
            pass


@kind()
async def unix_datagrams(ground: Ground, rng: random.Random) -> None:
    near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    with far:
        transport, protocol = await ground.loop.create_datagram_endpoint(Answers, sock=near)
        try:
            far.send(b"hello")
            assert await protocol.queue.get() == b"hello"
        finally:
            transport.close()


@kind()
async def look_up(ground: Ground, rng: random.Random) -> None:
    host = rng.choice(("127.0.0.1", "::1", "0.0.0.0"))
    found = await ground.loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
    assert found[0][4][:2] == (host, 80)
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await ground.loop.getnameinfo((host, 80), flags) == (host, "80")


@kind(weight=3)
async def look_up_nothing(ground: Ground, rng: random.Random) -> None:
    try:
        await ground.loop.getaddrinfo("no literal", 80, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return
    raise AssertionError("found")
