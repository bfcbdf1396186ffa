"""What would become a line of its own, in a response or in a log, and what would be no request to
whoever stands in front."""

import asyncio
import logging

import pytest

from .conftest import hello
from .websocket_client import request as upgrade
from .websocket_client import serving as serving_websockets

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ENDS = [b"\r\n", b"\r", b"\n", b"\0"]


def start(headers=(), **more):
    return {"type": "http.response.start", "status": 200, "headers": headers, **more}


def body(content=b""):
    return {"type": "http.response.body", "body": content}


# ---- responses ---------------------------------------------------------------------------------


HTTP_PLACES = {
    "value": lambda evil: [start([(b"a", evil)])],
    "name": lambda evil: [start([(evil, b"a")])],
    "length": lambda evil: [start([(b"content-length", b"1" + evil)])],
    "dropped": lambda evil: [start([(b"connection", evil)])],
    "link": lambda evil: [{"type": "http.response.early_hint", "links": [b"</a>", evil]}],
    "trailer": lambda evil: [
        start(trailers=True),
        body(b"x"),
        {"type": "http.response.trailers", "headers": [(b"a", evil)]},
    ],
    "trailer's name": lambda evil: [
        start(trailers=True),
        body(b"x"),
        {"type": "http.response.trailers", "headers": [(evil, b"a")]},
    ],
}
WEBSOCKET_PLACES = {
    "value": lambda evil: {"type": "websocket.accept", "headers": [(b"a", evil)]},
    "name": lambda evil: {"type": "websocket.accept", "headers": [(evil, b"a")]},
    "subprotocol": lambda evil: {"type": "websocket.accept", "subprotocol": evil.decode()},
    "denial": lambda evil: {
        "type": "websocket.http.response.start",
        "status": 403,
        "headers": [(b"a", evil)],
    },
    "denial's name": lambda evil: {
        "type": "websocket.http.response.start",
        "status": 403,
        "headers": [(evil, b"a")],
    },
}


class Sending:
    """Sends these, and lets nothing but what they raise pass."""

    def __init__(self, messages):
        self.messages = messages
        self.raised = asyncio.get_running_loop().create_future()

    async def __call__(self, scope, receive, send):
        try:
            for message in self.messages:
                await send(message)
            self.raised.set_result(None)
        except Exception as error:
            self.raised.set_result(error)
            raise


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", HTTP_PLACES)
async def test_a_response_is_not_split(serve, place, end):
    app = Sending(HTTP_PLACES[place](b"b" + end + b"evil: 1"))
    async with asyncio.timeout(20), serve(app, log_level="critical") as serving:
        async with serving.client() as client:
            await client.send(GET)
            try:
                got = await client.ended()
            except ConnectionResetError:
                got = b""
        assert b"evil" not in got and end not in got.replace(b"\r\n", b"")
        assert isinstance(await app.raised, ValueError)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", WEBSOCKET_PLACES)
async def test_the_answer_to_an_upgrade_is_not_split(place, end):
    app = Sending([WEBSOCKET_PLACES[place](b"b" + end + b"evil: 1")])
    async with asyncio.timeout(20), serving_websockets(app, log_level="critical") as serving:
        async with serving.client() as client:
            await client.send(upgrade(protocol="b"))
            got = await client.reader.read()
        assert got.startswith(b"HTTP/1.1 500 ")
        assert b"evil" not in got and end not in got.replace(b"\r\n", b"")
        assert isinstance(await app.raised, ValueError)


async def test_trailers_that_are_refused_may_be_others(serve):
    async def app(scope, receive, send):
        await send(start(trailers=True))
        await send(body(b"x"))
        trailers = {"type": "http.response.trailers", "headers": [(b"a", b"b")]}
        with pytest.raises(ValueError, match="invalid value"):
            await send(trailers | {"headers": [(b"c", b"d"), (b"a", b"\n")]})
        await send(trailers)

    async with asyncio.timeout(20), serve(app) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(GET)
            _, fields, content = await client.response()
            assert (content, fields["a"]) == (b"x", "b") and "c" not in fields


# ---- logs --------------------------------------------------------------------------------------


TARGET = "/%0aINFO:%0d%0a%1b[2J?%0a"


async def failing(scope, receive, send):
    raise ValueError("as it is asked to")


async def rewriting(scope, receive, send):
    """As middleware does that knows better what the path is."""
    scope["raw_path"] = b"/\nINFO:\r\n\x1b[2J\x9b\x85"
    await hello(scope, receive, send)


@pytest.mark.parametrize("app", [hello, failing, rewriting])
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_nobody_forges_a_line_of_a_log(caplog, app, kind):
    async def accepts(scope, receive, send):
        if kind == "websocket" and app is not hello:
            await receive()
            await send({"type": "websocket.accept"})
        await app(scope, receive, send)

    caplog.set_level(logging.INFO, "penstock")
    async with asyncio.timeout(20), serving_websockets(accepts, access_log=True) as serving:
        async with serving.client() as client:
            get = f"GET {TARGET} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            await client.send(upgrade(TARGET) if kind == "websocket" else get)
            await client.head()
            client.writer.write_eof()
            await client.reader.read()
    told = [each.getMessage() for each in caplog.records]
    assert len(told) > 1
    for each in told:
        assert each.isascii() and each.isprintable()


# ---- whoever stands in front -------------------------------------------------------------------


async def test_an_upgrade_that_is_not_served_changes_nothing(serve):
    """h2c: the connection stays one of HTTP/1.1, whose next request is read."""
    async with asyncio.timeout(20), serve(hello) as serving, serving.client() as client:
        lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
        await client.send(GET[:-2] + lines + b"\r\n" + GET)
        for _ in range(2):
            status, fields, content = await client.response()
            assert (status, content) == (200, b"Hello, world")
            assert "upgrade" not in fields and "connection" not in fields


@pytest.mark.parametrize("status", [200, 204, 299, 404])
async def test_what_follows_a_connect_is_no_request(serve, status):
    """A proxy takes a 2xx for a tunnel: what it sends then is its client's, word for word."""
    called = []

    async def app(scope, receive, send):
        called.append(scope["method"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send(body())

    async with asyncio.timeout(20), serve(app) as serving, serving.client() as client:
        await client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + GET)
        got, fields, _ = await client.response()
        assert (got, fields["connection"]) == (status, "close")
        await client.send(GET)
        assert await client.ended() == b""
    assert called == ["CONNECT"]
