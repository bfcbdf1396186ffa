"""Requests that end in another way: clients that leave, garbage, failures, deadlines; servers."""

import asyncio
import contextlib
import functools
import random

from tests.http import hostile
from tests.http.conftest import serving
from tests.soak.application import HASTE
from tests.soak.ground import LOST, reset
from tests.soak.site import Site

from . import HTTP_KINDS, kind
from .http import WAYS, post, request, send_torn, way_of

kind = functools.partial(kind, among=HTTP_KINDS)


def anything(site: Site, rng: random.Random) -> bytes:
    """Requests, of which a client may see any part of the answer."""
    made = b""
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(
            ("/", "/later", "/wait", "/stream?300000,5000", "/large", "/path", "/divided?20",
             "/part?1000,90000", "/told?70000", "/static/file", "/limited?10")
        )  # fmt: skip
        if rng.random() < 0.6:
            made += request(rng, path)
        else:
            path = rng.choice(("/echo", "/mirror", "/divided?10", "/wait", "/limited?10"))
            made += b"".join(post(rng, path, site.data[: rng.choice((10, 5000, 100_000))]))
    return made


# ---- clients ------------------------------------------------------------------------------------


@kind(weight=40, expects=LOST)
async def leave(site: Site, rng: random.Random) -> None:
    """At any point, by any way."""
    reader, writer = await site.open(rng.choice((*WAYS, "wsgi")))
    try:
        text = anything(site, rng)
        writer.write(text[: rng.choice((len(text), rng.randrange(len(text))))])
        for _ in range(rng.randint(0, 6)):
            if rng.random() < 0.3:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await reader.read(rng.choice((1, 1000, 100_000)))
            else:
                await asyncio.sleep(0)
        how = rng.random()
        if how < 0.4:
            reset(writer)
        elif how < 0.6 and writer.can_write_eof():
            writer.write_eof()
            await asyncio.sleep(rng.random() / 1000)
    finally:
        writer.transport.abort()


@kind(weight=20)
async def misbehave(site: Site, rng: random.Random) -> None:
    reader, writer = await site.open(way_of(rng))
    try:
        await hostile.misbehave(reader, writer, rng)
        await asyncio.sleep(rng.random() / 1000)
    finally:
        writer.transport.abort()


@kind(weight=20, expects=LOST)
async def send_garbage(site: Site, rng: random.Random) -> None:
    """What is nearly a request, or nothing of the kind: the server closes, or waits for more."""
    reader, writer = await site.open(way_of(rng))
    try:
        text = bytearray(request(rng, "/") * rng.randint(1, 3))
        for _ in range(rng.randint(1, 5)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        garbage = site.data[: rng.choice((10, 1000, 100_000))]
        writer.write(rng.choice((bytes(text), garbage, garbage.hex().encode())))
        if writer.can_write_eof():
            writer.write_eof()
            await reader.read()
        else:
            await asyncio.sleep(rng.random() / 1000)
    finally:
        writer.transport.abort()


@kind()
async def speak_no_tls(site: Site, rng: random.Random) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port("tls"))
    try:
        writer.write(rng.choice((request(rng, "/"), b"\x16\x03\x01\x02\x00\x01\x00", b"")))
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
    finally:
        writer.transport.abort()


# ---- applications -------------------------------------------------------------------------------


@kind()
async def fail(site: Site, rng: random.Random) -> None:
    async with site.client(rng.choice((*WAYS, "wsgi"))) as client:
        await client.send(request(rng, "/fails"))
        assert (await client.response())[0] == 500


@kind()
async def fail_amid(site: Site, rng: random.Random) -> None:
    async with site.client(way_of(rng)) as client:
        await client.send(request(rng, "/half"))
        with contextlib.suppress(*LOST):
            assert not (await client.ended()).endswith(b"\r\n0\r\n\r\n")


@kind()
async def be_cancelled(site: Site, rng: random.Random) -> None:
    """The application cancels itself, or gives up what it waits for."""
    path, expected = rng.choice((("/cancelled", 500), ("/limited?5", 503)))
    async with site.client(way_of(rng)) as client:
        await client.send(request(rng, path))
        assert (await client.response())[0] == expected


@kind(weight=20)
async def divide(site: Site, rng: random.Random) -> None:
    async with site.client(way_of(rng)) as client:
        count = rng.randint(0, 5)
        await client.send(request(rng, f"/divided?{count}"))
        assert (await client.response())[2] == b"0123456789" * count


# ---- deadlines ----------------------------------------------------------------------------------

LATE = {
    "head": b"GET / HTTP/1.1\r\nHost:",
    "body": b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
    "next request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "answer": b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "rest of an answer": b"GET /divided?100000 HTTP/1.1\r\nHost: a\r\n\r\n",
    "end of a refused one": b"nonsense\r\n\r\n",
    "anything": b"",
}


@kind(weight=8, expects=LOST)
async def be_late(site: Site, rng: random.Random) -> None:
    """The server waits for no more than its deadlines say."""
    async with site.client("hasty") as client:
        await client.send(LATE[rng.choice(list(LATE))])
        while await client.reader.read(100_000):
            pass


@kind(weight=4, expects=LOST)
async def take_nothing(site: Site, rng: random.Random) -> None:
    """A client that does not read is cut off."""
    async with site.client("hasty") as client:
        await client.send(request(rng, rng.choice(("/large", "/static/file"))) * 8)
        await asyncio.sleep(3 * HASTE)
        while await client.reader.read(100_000):
            pass


# ---- servers ------------------------------------------------------------------------------------


@kind(weight=3)
async def serve(site: Site, rng: random.Random) -> None:
    """A server of one's own, which ends under its clients."""
    options = {"access_log": False, "timeout_drain": HASTE, "lifespan": rng.choice(("on", "off"))}
    writers = []
    try:
        async with serving(with_lifespan, **options) as served:
            for _ in range(rng.randint(0, 5)):
                reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
                writers.append(writer)
                writer.write(request(rng, rng.choice(("/", "/later", "/chunks"))))
                if rng.random() < 0.5:
                    await reader.readuntil(b"\r\n\r\n")
    finally:
        for writer in writers:
            writer.transport.abort()


async def with_lifespan(scope, receive, send) -> None:
    if scope["type"] != "lifespan":
        return await hostile.app(scope, receive, send)
    for _ in range(2):
        await send({"type": f"{(await receive())['type']}.complete"})


@kind(weight=1)
async def renew_certificates(site: Site, rng: random.Random) -> None:
    """Connections that are there keep theirs."""
    async with site.client("tls") as client:
        for _ in range(2):
            await send_torn(client, rng, request(rng, "/"))
            assert (await client.response())[0] == 200
            site.servers["tls"].reload_certificates()
