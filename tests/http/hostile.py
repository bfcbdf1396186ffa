"""Clients that do anything at any moment, and an application that they meet."""

import asyncio

from .conftest import hello


class Asked(Exception):
    """An application fails, as its client has wanted."""


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
        raise Asked
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
            raise Asked
        if path == "/chunks":
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def misbehave(reader, writer, chance):
    """Pieces of requests, and of what is none, in any order; some are cut off."""
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
