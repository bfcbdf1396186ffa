"""Requests that are answered: kept alive, pipelined, with bodies and without, streams and files."""

import asyncio
import functools
import hashlib
import random

from tests.http.conftest import Client
from tests.soak.application import NUMBERS
from tests.soak.ground import LOST
from tests.soak.site import Site

from . import HTTP_KINDS, kind

kind = functools.partial(kind, among=HTTP_KINDS)

WAYS = ("plain", "plain", "local", "tls")
SIZES = (0, 1, 500, 5000, 70_000, 300_000, 1 << 20)
FIELDS = (
    b"Accept: */*",
    b"Accept-Encoding: gzip, br",
    b"Authorization: Basic Zm9vOmJhcg==",
    b"Cookie: session=%d",
    b"User-Agent: soak/%d",
    b"X-Forwarded-For: 192.0.2.1, 10.0.0.%d",
    b"X-Forwarded-Proto: https",
    b"X-Request-Id: %d",
)


def way_of(rng: random.Random) -> str:
    return rng.choice(WAYS)


def request(
    rng: random.Random, path: str, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1"
) -> bytes:
    """Without a body."""
    chosen = [
        field.replace(b"%d", b"%d" % rng.randrange(NUMBERS))
        for field in rng.sample(FIELDS, rng.randrange(4))
    ]
    line = b"%s %s HTTP/%s" % (method, path.encode(), version)
    return b"\r\n".join([line, b"Host: localhost", *chosen, *fields, b"", b""])


def chunked(rng: random.Random, content: bytes) -> list[bytes]:
    made = []
    while content:
        size = rng.choice((1, 100, 8000, 100_000))
        piece, content = content[:size], content[size:]
        extension = rng.choice((b"", b"", b';a="b"'))
        made.append(b"%X%s\r\n%s\r\n" % (len(piece), extension, piece))
    made.append(rng.choice((b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n")))
    return made


def post(rng: random.Random, path: str, content: bytes, *fields: bytes) -> list[bytes]:
    """A request and its body, in pieces."""
    if rng.random() < 0.5:
        head = request(rng, path, b"Transfer-Encoding: chunked", *fields, method=b"POST")
        return [head, *chunked(rng, content)]
    length = b"Content-Length: %d" % len(content)
    head = request(rng, path, length, *fields, method=b"POST")
    middle = rng.randrange(len(content) + 1)
    return [head, content[:middle], content[middle:]]


def torn(rng: random.Random, text: bytes) -> list[bytes]:
    """The same in a few pieces."""
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randint(0, 4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def send_torn(client: Client, rng: random.Random, text: bytes) -> None:
    for piece in torn(rng, text):
        await client.send(piece)
        if rng.random() < 0.5:
            await asyncio.sleep(0)


# ---- requests -----------------------------------------------------------------------------------


@kind(weight=40)
async def get(site: Site, rng: random.Random) -> None:
    async with site.client(rng.choice((*WAYS, "wsgi"))) as client:
        for _ in range(rng.randint(1, 8)):
            is_head = rng.random() < 0.1
            text = request(rng, "/", method=b"HEAD" if is_head else b"GET")
            await send_torn(client, rng, text)
            status, fields, content = await client.response(head=is_head)
            assert (status, "connection" in fields) == (200, False)
            assert content in (b"", b"Hello, world")


@kind(weight=10)
async def get_one(site: Site, rng: random.Random) -> None:
    """The connection ends with it."""
    async with site.client(way_of(rng)) as client:
        if rng.random() < 0.5:
            text = request(rng, "/later", b"Connection: close")
        else:
            text = request(rng, "/later", version=b"1.0")
        await client.send(text)
        assert (await client.response())[0] == 200
        assert await client.ended() == b""


@kind(weight=20)
async def pipeline(site: Site, rng: random.Random) -> None:
    contents = [site.data[: rng.choice((0, 10, 1000))] for _ in range(rng.randint(2, 40))]
    async with site.client(way_of(rng)) as client:
        text = b"".join(b"".join(post(rng, "/echo", content)) for content in contents)
        sending = asyncio.create_task(send_torn(client, rng, text))
        try:
            for content in contents:
                assert (await client.response())[::2] == (200, content)
            await sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])


@kind(weight=20)
async def half_close(site: Site, rng: random.Random) -> None:
    """Who has asked all that it wants gets its answer."""
    async with site.client(rng.choice(("plain", "local"))) as client:
        content = site.data[: rng.choice(SIZES)]
        await client.send(*post(rng, "/echo", content))
        client.writer.write_eof()
        assert (await client.response())[::2] == (200, content)
        assert await client.ended() == b""


@kind(weight=10)
async def be_told_more(site: Site, rng: random.Random) -> None:
    """Early hints, and trailers."""
    async with site.client(way_of(rng)) as client:
        for _ in range(rng.randint(1, 3)):
            size = rng.choice((1, 5000, 100_000))
            await client.send(request(rng, f"/told?{size}"))
            assert (await client.response())[0] == 103
            _, fields, content = await client.response()
            assert content == site.data[:size]
            assert fields["x-sum"] == hashlib.sha256(content).hexdigest()


# ---- bodies -------------------------------------------------------------------------------------


@kind(weight=30)
async def upload(site: Site, rng: random.Random) -> None:
    async with site.client(rng.choice((*WAYS, "wsgi"))) as client:
        for _ in range(rng.randint(1, 3)):
            content = site.data[: rng.choice(SIZES)]
            path = rng.choice(("/echo", "/mirror"))
            sending = asyncio.create_task(client.send(*post(rng, path, content)))
            try:
                assert (await client.response())[::2] == (200, content)
                await sending
            finally:
                sending.cancel()
                await asyncio.wait([sending])


@kind(expects=LOST)  # TLS has no half to close: the answer may be lost
async def upload_for_nobody(site: Site, rng: random.Random) -> None:
    """The application reads nothing; what is long is not taken to its end."""
    async with site.client(way_of(rng)) as client:
        for piece in post(rng, "/", site.data[: rng.choice(SIZES)]):
            client.writer.write(piece)
        assert (await client.response())[0] == 200
        client.writer.transport.abort()


@kind()
async def expect(site: Site, rng: random.Random) -> None:
    async with site.client(way_of(rng)) as client:
        content = site.data[: rng.choice((1, 5000, 100_000))]
        head, *pieces = post(rng, rng.choice(("/echo", "/")), content, b"Expect: 100-continue")
        await client.send(head)
        status, _, _ = await client.response()
        if status == 100:
            await client.send(*pieces)
            assert (await client.response())[::2] == (200, content)
        else:
            assert status == 200


@kind(weight=20)
async def read_slowly(site: Site, rng: random.Random) -> None:
    size, step = rng.choice((70_000, 1 << 20)), rng.choice((1000, 50_000))
    async with site.client(way_of(rng)) as client:
        await client.send(request(rng, f"/stream?{size},{step}", b"Connection: close"))
        await client.reader.readuntil(b"\r\n\r\n")
        for _ in range(rng.randint(1, 8)):
            await client.reader.readexactly(5000)
            await asyncio.sleep(rng.random() / 1000)
        if rng.random() < 0.5:
            assert (await client.ended()).endswith(b"0\r\n\r\n")
        else:
            client.writer.transport.abort()


# ---- files --------------------------------------------------------------------------------------


@kind(weight=20)
async def files(site: Site, rng: random.Random) -> None:
    async with site.client(way_of(rng)) as client:
        for _ in range(rng.randint(1, 3)):
            begin = rng.randrange(len(site.data))
            end = rng.randint(begin + 1, len(site.data))
            piece = site.data[begin:end]
            answer, path, *fields = rng.choice(
                (
                    ((206, piece), "/static/file", b"Range: bytes=%d-%d" % (begin, end - 1)),
                    ((304, b""), "/static/file", b"If-None-Match: *"),
                    ((200, site.data), "/static/file"),
                    ((404, b"Not Found"), "/static/none"),
                    ((200, site.data), "/path"),
                    ((200, piece + b"end"), f"/part?{begin},{end - begin}"),
                )
            )
            await client.send(request(rng, path, *fields))
            assert (await client.response())[::2] == answer


@kind()
async def part_with_a_file(site: Site, rng: random.Random) -> None:
    """Amid of it."""
    async with site.client(way_of(rng)) as client:
        await client.send(request(rng, rng.choice(("/static/file", "/path"))))
        await client.reader.readexactly(rng.choice((1, 1000, 500_000)))
        client.writer.transport.abort()


@kind()
async def read_in_threads(site: Site, rng: random.Random) -> None:
    """WSGI's iterables and files, to their end or not."""
    async with site.client("wsgi") as client:
        size = rng.choice((5000, 50_000, 1 << 20))
        path, content = rng.choice((("/file", site.data), (f"/stream?{size}", site.data[:size])))
        await client.send(request(rng, path))
        if rng.random() < 0.5:
            await client.reader.readexactly(1)
            client.writer.transport.abort()
        else:
            assert (await client.response())[2] == content
