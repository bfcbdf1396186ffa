"""WebSockets: by the library that others use, and in frames that no library would send."""

import asyncio
import contextlib
import functools
import random

import websockets

from tests.http.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    close,
    deflated,
    frame,
    inflated,
)
from tests.soak.ground import LOST, reset
from tests.soak.site import Site

from . import HTTP_KINDS, kind
from .http import way_of

kind = functools.partial(kind, among=HTTP_KINDS)

SIZES = (0, 1, 120, 5000, 70_000, 300_000)


@contextlib.asynccontextmanager
async def connected(site: Site, rng: random.Random, path: str):
    """A connection of the library's, with compression or without."""
    client = await site.open_websocket(
        way_of(rng),
        path,
        compression=rng.choice(("deflate", None)),
        subprotocols=rng.choice((None, ["soak"])),
    )
    try:
        yield client
        await client.close()
    finally:
        client.transport.abort()
        await client.wait_closed()


@kind(weight=30)
async def converse(site: Site, rng: random.Random) -> None:
    async with connected(site, rng, "/echo") as client:
        for _ in range(rng.randint(1, 6)):
            content = site.data[: rng.choice(SIZES)]
            text = content[: 1 + len(content) // 2].hex()
            message = rng.choice((content, text))
            pieces = [message[:100], message[100:200], message[200:]]
            await client.send(rng.choice((message, pieces)))
            assert await client.recv() == message
            if rng.random() < 0.2:
                await (await client.ping())


@kind()
async def be_flooded(site: Site, rng: random.Random) -> None:
    """By a server whose messages are read slowly, or not to their end."""
    count, size = rng.choice(((200, 100), (10, 100_000)))
    async with connected(site, rng, f"/flood?{count},{size}") as client:
        goes_on = rng.choice((count, rng.randrange(count)))
        for _ in range(goes_on):
            assert await client.recv() == site.data[:size]
            if rng.random() < 0.2:
                await asyncio.sleep(0)
        if goes_on < count:
            return client.transport.abort()  # its close() would wait for what nobody reads
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == 3000


@kind()
async def be_denied(site: Site, rng: random.Random) -> None:
    query, status = rng.choice((("", 403), ("?1", 418)))
    try:
        client = await site.open_websocket(way_of(rng), f"/refuse{query}")
    except websockets.InvalidStatus as error:
        assert error.response.status_code == status
        return
    client.transport.abort()
    raise AssertionError("it was accepted")


@kind()
async def be_failed(site: Site, rng: random.Random) -> None:
    async with connected(site, rng, "/fail") as client:
        await client.send("fail")
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == 1011


# ---- in frames ----------------------------------------------------------------------------------


def message(rng: random.Random, content: bytes, is_deflated: bool) -> bytes:
    """In as many fragments as one likes, with pings in between."""
    packed = deflated(content) if is_deflated else content
    cuts = sorted(rng.randrange(len(packed) + 1) for _ in range(rng.choice((0, 0, 1, 5))))
    pieces = [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
    made = b""
    for number, piece in enumerate(pieces):
        made += frame(
            BINARY if number == 0 else CONTINUATION,
            piece,
            final=number == len(pieces) - 1,
            reserved=4 if is_deflated and number == 0 else 0,
        )
        if rng.random() < 0.1:
            made += frame(PING, b"are you there?")
    return made


async def next_frame(client: Client) -> Frame:
    """That is not about pings."""
    while (got := await client.frame()).opcode in (PING, PONG):
        pass
    return got


WRONG = (
    (1002, frame(3, b"")),  # no such opcode
    (1002, frame(CONTINUATION, b"of nothing")),
    (1002, frame(TEXT, b"not masked", masked=False)),
    (1002, frame(TEXT, b"x", reserved=2)),
    (1002, frame(PING, b"x", final=False)),
    (1002, frame(PING, bytes(126))),
    (1007, frame(TEXT, b"\xff\xff")),
    (1007, close(1000, b"\xff")),
    (1002, close(1005)),
    (1009, frame(BINARY, b"", length=1 << 40, width=8)),
)


@kind(weight=30)
async def converse_in_frames(site: Site, rng: random.Random) -> None:
    extensions = rng.choice((None, DEFLATE))
    async with site.client(way_of(rng), Client) as client:
        agreed = await client.upgrade("/echo", extensions=extensions)
        assert ("sec-websocket-extensions" in agreed) == (extensions is not None)
        for _ in range(rng.randint(0, 4)):
            content = site.data[: rng.choice(SIZES)]
            client.write(message(rng, content, extensions is not None and rng.random() < 0.8))
            got = await next_frame(client)
            assert (got.opcode, got.is_final) == (BINARY, True)
            assert (inflated(got.payload) if got.reserved else got.payload) == content
        if rng.random() < 0.5:
            code = rng.choice((1000, 4000))
            await client.send(close(code, b"enough"))
            got = await next_frame(client)
            assert (got.opcode, got.code) == (CLOSE, code)
            assert await client.reader.read() == b""
        else:
            code, text = rng.choice(WRONG)
            await client.send(text)
            assert (await client.closing()).code == code


@kind(weight=20, expects=LOST)
async def leave_in_frames(site: Site, rng: random.Random) -> None:
    """At any point."""
    async with site.client(way_of(rng), Client) as client:
        extensions = rng.choice((None, DEFLATE))
        path = rng.choice(("/echo", "/flood?200,5000", "/fail"))
        await client.upgrade(path, extensions=extensions)
        text = b"".join(
            message(rng, site.data[: rng.choice(SIZES)], extensions is not None)
            for _ in range(rng.randint(1, 3))
        )
        client.write(text[: rng.choice((len(text), rng.randrange(len(text))))])
        for _ in range(rng.randint(0, 5)):
            await asyncio.sleep(0)
        if rng.random() < 0.5:
            reset(client.writer)
        client.writer.transport.abort()


@kind(weight=3, expects=LOST)
async def answer_no_ping(site: Site, rng: random.Random) -> None:
    """The server takes the client for dead."""
    async with site.client("hasty", Client) as client:
        await client.upgrade("/echo")
        while await client.reader.read(1000):
            pass
