"""An echo server of datagrams: create_datagram_endpoint() and sendto()."""

import asyncio
import socket
from typing import cast

from .. import serving
from ..rounds import Rounds, Table
from ..serving import Case


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


def server(peer: str, api: str) -> None:
    serving.serve(peer, main)


async def main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, sock=sock)
    await loop.create_future()


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Echo of datagrams", serving.FIGURES)
    serving.measure(rounds, table, server, [Case("", 1024)], kind="datagrams")
    return [table]
