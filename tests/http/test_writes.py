"""How often a connection writes, and what of an application's messages is not sent at all."""

import asyncio

import pytest

from .conftest import hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Transport:
    """One of Python's, that keeps each write."""

    def __init__(self):
        self.writes = []

    def write(self, data):
        self.writes.append(bytes(data))

    def writelines(self, pieces):
        self.writes.append(b"".join(pieces))

    def get_extra_info(self, name, default=None):
        return {"peername": ("1.2.3.4", 5), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Connected:
    """A native connection on such a transport."""

    def __init__(self, server):
        self.transport = Transport()
        self.protocol = server._native()
        self.protocol.connection_made(self.transport)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.protocol.connection_lost(None)

    async def writes(self, request, end):
        """Those up to the first that ends so."""
        self.protocol.data_received(request)
        async with asyncio.timeout(20):
            while not self.transport.writes or not self.transport.writes[-1].endswith(end):
                await asyncio.sleep(0)
        return self.transport.writes


def start(**more):
    return {"type": "http.response.start", "status": 200, "headers": [], **more}


def body(content=b"", more=False):
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.mark.parametrize("sleeps", [False, True])
@pytest.mark.parametrize(
    ("messages", "end"),
    [
        ([start(), body(b"abc")], b"\r\n\r\nabc"),
        ([start(), body(bytes(100_000))], b"\r\n\r\n" + bytes(100_000)),
        ([start(), body(b"a", True), body(b"b", True), body()], b"1\r\nb\r\n0\r\n\r\n"),
        (
            [
                {"type": "http.response.early_hint", "links": [b"</a>"]},
                start(trailers=True),
                body(b"a"),
                {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
            ],
            b"0\r\nx-sum: 1\r\n\r\n",
        ),
    ],
    ids=["small", "large", "chunks", "hint and trailers"],
)
async def test_what_is_sent_without_suspending_is_one_write(serve, messages, end, sleeps):
    async def app(scope, receive, send):
        if sleeps:
            await asyncio.sleep(0)
        for message in messages:
            await send(message)

    async with serve(app) as serving:
        with Connected(serving.server) as connected:
            for count in (1, 2):
                assert len(await connected.writes(GET, end)) == count
                connected.transport.writes[-1] += b"."  # it is not taken for the next one


async def test_a_pipeline_that_is_answered_at_once_is_one_write(serve):
    async with serve(hello) as serving:
        with Connected(serving.server) as connected:
            (written,) = await connected.writes(GET * 10, b"Hello, world")
            assert written.count(b"Hello, world") == 10


async def test_each_chunk_that_is_waited_behind_leaves(serve):
    async def app(scope, receive, send):
        await send(start())
        for number in range(3):
            await send(body(b"%d" % number, True))
            await asyncio.sleep(0.01)
        await send(body())

    async with serve(app) as serving:
        with Connected(serving.server) as connected:
            writes = await connected.writes(GET, b"0\r\n\r\n")
    assert [each[-6:] for each in writes[:3]] == [b"1\r\n%d\r\n" % number for number in range(3)]
    assert writes[3:] == [b"0\r\n\r\n"]


@pytest.mark.parametrize("before", [True, False])
async def test_what_is_sent_for_debugging_is_not_sent(serve, caplog, before):
    """Before the response it may come; behind its start it is out of order as any other."""
    debug = {"type": "http.response.debug", "info": {"template": "a.html", "context": {}}}

    async def app(scope, receive, send):
        assert "http.response.debug" in scope["extensions"]
        if before:
            await send(debug)
        await send(start())
        if not before:
            await send(debug)
        await send(body(b"abc"))

    async with serve(app) as serving, serving.client() as client:
        await client.send(GET)
        status, _, content = await client.response()
    assert (status, content) == ((200, b"abc") if before else (500, b"Internal Server Error"))
    assert ("http.response.debug" in caplog.text) != before
