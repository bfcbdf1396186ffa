"""An echo server that is a protocol: what create_server() and a transport cost."""

import asyncio
from typing import cast

from .. import serving
from ..rounds import Rounds, Table
from ..serving import Case

CASES = [
    Case("Protocol", 1024),
    Case("Protocol", 65536),
    Case("BufferedProtocol", 65536),
]


class BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.buffer = bytearray(65536)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        # A copy, for the buffer is filled again while the transport may still hold it.
        self.transport.write(bytes(memoryview(self.buffer)[:nbytes]))


PROTOCOLS: dict[str, type[asyncio.BaseProtocol]] = {
    "Protocol": serving.Echo,
    "BufferedProtocol": BufferedEcho,
}


def server(peer: str, api: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await serving.forever(await loop.create_server(PROTOCOLS[api], "127.0.0.1", 0))

    serving.serve(peer, main)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Echo of a protocol", serving.FIGURES)
    serving.measure(rounds, table, server, CASES)
    return [table]
