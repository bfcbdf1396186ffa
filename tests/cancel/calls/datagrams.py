"""UDP endpoints, and datagrams over sockets of the caller's own."""

import asyncio
import socket

from ..scenario import scenario
from .connections import close


def receiver(stage):
    sock = stage.socket(kind=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@scenario("create_datagram_endpoint")
async def bound(stage):
    made = yield stage.loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    await close(made)


@scenario("create_datagram_endpoint")
async def connected_by_name(stage):
    made = yield stage.loop.create_datagram_endpoint(
        asyncio.DatagramProtocol,
        local_addr=("localhost", 0),
        remote_addr=("localhost", receiver(stage).getsockname()[1]),
        family=socket.AF_INET,
    )
    await close(made)


@scenario("create_datagram_endpoint")
async def of_a_socket(stage):
    await close(
        (yield stage.loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=receiver(stage)))
    )


@scenario("create_datagram_endpoint")
async def of_unix(stage):
    path = f"{stage.folder()}/socket"
    made = yield stage.loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=path, family=socket.AF_UNIX
    )
    await close(made)


@scenario("sock_recvfrom")
async def sock_recvfrom(stage):
    sock, peer = receiver(stage), stage.socket(kind=socket.SOCK_DGRAM)
    yield stage.loop.sock_recvfrom(sock, 10), lambda: peer.sendto(b"x", sock.getsockname())


@scenario("sock_recvfrom_into")
async def sock_recvfrom_into(stage):
    sock, peer = receiver(stage), stage.socket(kind=socket.SOCK_DGRAM)
    yield (
        stage.loop.sock_recvfrom_into(sock, bytearray(10)),
        lambda: peer.sendto(b"x", sock.getsockname()),
    )


@scenario("sock_sendto")
async def sock_sendto(stage):
    """To a peer whose queue is full: of UDP the kernel would drop it instead."""
    sock = stage.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer = stage.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(f"{stage.folder()}/peer")
    try:
        while True:
            sock.sendto(b"x", peer.getsockname())
    except BlockingIOError:
        pass
    yield stage.loop.sock_sendto(sock, b"x", peer.getsockname()), lambda: peer.recv(10)
