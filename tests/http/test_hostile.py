"""Clients that do anything at any moment: the server answers the next one, and nothing is left."""

import asyncio
import random

import pytest

from .conftest import hello

SEED = 20261126
CLIENTS = 400
AT_ONCE = 20

PIECES = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /fails HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000),
    b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    b"5\r\nhello\r\n",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
    bytes(70_000),
]


async def app(scope, receive, send):
    path = scope["path"]
    if path == "/fails":
        raise ValueError("as it is asked to")
    if path == "/wait":
        await receive()
        await receive()
        return
    if path == "/later":
        await asyncio.sleep(0.001)
    if path == "/read":
        while (message := await receive()).get("more_body"):
            await asyncio.sleep(0)
        if message["type"] == "http.disconnect":
            return
    if path not in ("/large", "/chunks", "/half"):
        return await hello(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(20):
        size = 200_000 if path == "/large" else 10
        await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        if path == "/half":
            raise ValueError("as it is asked to")
        if path == "/chunks":
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def misbehave(port, chance):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(chance.randrange(1, 8)):
            what = chance.random()
            if what < 0.6:
                piece = chance.choice(PIECES)
                if chance.random() < 0.3:
                    piece = piece[: chance.randrange(len(piece) + 1)]
                writer.write(piece)
            elif what < 0.75:
                await asyncio.wait_for(reader.read(chance.choice((1, 1000, 100_000))), 0.01)
            elif what < 0.8:
                writer.write_eof()
            elif what < 0.85:
                writer.transport.abort()
                return
            else:
                await asyncio.sleep(chance.choice((0, 0, 0.002)))
    except (OSError, RuntimeError):  # TimeoutError is one
        pass
    finally:
        chance.choice((writer.close, writer.transport.abort))()


@pytest.mark.parametrize("part", range(3))
async def test_clients_that_do_anything(serve, part):
    options = {"timeout_linger": 0.2, "timeout_graceful_shutdown": 0.5, "limit_pipelined": 1000}
    async with serve(app, log_level="critical", **options) as serving:

        async def some(number):
            chance = random.Random(f"{SEED} {part} {number}")
            for _ in range(CLIENTS // AT_ONCE):
                await misbehave(serving.port, chance)

        await asyncio.gather(*map(some, range(AT_ONCE)))
        status, _, content = await serving.get()
        assert (status, content) == (200, b"Hello, world")
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left
    assert serving.server.connections == 0
