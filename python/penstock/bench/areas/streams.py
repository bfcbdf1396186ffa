"""An echo server of streams: start_server(), what a reader reads and drain()."""

import asyncio

from .. import serving
from ..rounds import Rounds, Table
from ..serving import Case

CASES = [Case("read()", 1024), Case("readline()", 1024), Case("read()", 65536)]


async def by_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def by_readline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()
    writer.close()


def server(peer: str, api: str) -> None:
    async def main() -> None:
        answer = by_readline if api == "readline()" else by_read
        await serving.forever(await asyncio.start_server(answer, "127.0.0.1", 0))

    serving.serve(peer, main)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Echo of streams", serving.FIGURES)
    serving.measure(rounds, table, server, CASES)
    return [table]
