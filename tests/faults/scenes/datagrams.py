"""Datagram transports."""

import asyncio
import socket

from .ends import Datagrams, aborting
from .scene import scene


@scene
async def datagrams(short):
    loop = asyncio.get_running_loop()
    ends = [Datagrams(), Datagrams()]
    with aborting(ends), short:
        near, far = ends
        await loop.create_datagram_endpoint(lambda: near, ("127.0.0.1", 0))
        address = near.transport.get_extra_info("sockname")
        await loop.create_datagram_endpoint(lambda: far, remote_addr=address)
        far.transport.sendto(b"question")
        data, sender = await near.came.get()
        if data is None:
            return
        short.expect(data == b"question")
        near.transport.sendto(b"answer", sender)
        data, _ = await far.came.get()
        short.expect(data in (b"answer", None))
        near.transport.close()


def connected_pair():
    # Not socketpair(): a peer without a name is none, to asyncio too.
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind(("127.0.0.1", 0))
        end.setblocking(False)
    ends[0].connect(ends[1].getsockname())
    ends[1].connect(ends[0].getsockname())
    return ends


@scene
async def many_datagrams(short):
    loop = asyncio.get_running_loop()
    near, far = connected_pair()
    ends = [Datagrams(), Datagrams()]
    with near, far, aborting(ends):
        await loop.create_datagram_endpoint(lambda: ends[0], sock=near)
        await loop.create_datagram_endpoint(lambda: ends[1], sock=far)
        with short:
            for _ in range(120):
                ends[0].transport.sendto(b"x" * 100)
            for _ in range(120):
                data, _ = await ends[1].came.get()
                if data is None:
                    break
