"""open_connection, start_server, and their readers and writers."""

import asyncio

from ..scenario import scenario
from ..stage import MORE_THAN_FITS


async def close(writer):
    writer.close()
    await writer.wait_closed()


@scenario("open_connection")
async def open_connection(stage):
    made = yield asyncio.open_connection("localhost", stage.listener().getsockname()[1])
    if made is not None:
        await close(made[1])


@scenario("start_server", asyncio_fails="it leaves what it has bound")
async def start_server(stage):
    server = yield asyncio.start_server(lambda *_: None, "localhost", 0)
    if server is not None:
        server.close()
        await server.wait_closed()


def reading(read, data):
    async def play(stage):
        near, far = stage.connection()
        reader, writer = await asyncio.open_connection(sock=near)
        yield read(reader), lambda: far.send(data)
        far.send(data)
        assert await reader.read(1)  # the reader goes on
        await close(writer)

    return play


for name, read in {
    "read": lambda reader: reader.read(10),
    "readexactly": lambda reader: reader.readexactly(3),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(b"\n"),
}.items():
    play = reading(read, b"ab\n")
    play.__name__ = name
    scenario("StreamReader")(play)


@scenario("StreamWriter")
async def drain(stage):
    near, far = stage.pair()
    _, writer = await asyncio.open_connection(sock=near)

    async def write():
        writer.write(MORE_THAN_FITS)
        await writer.drain()

    yield write(), stage.sink(far)
    writer.transport.abort()
    await asyncio.sleep(0)


@scenario("StreamWriter")
async def wait_closed(stage):
    near, _ = stage.connection()
    _, writer = await asyncio.open_connection(sock=near)
    yield close(writer)
