"""WebSocket as ASGI has it: scope, messages, denial, closing, and what ends a connection."""

import asyncio
import logging
from itertools import count

import pytest

from tests.http.websocket_client import (
    BINARY,
    CLOSE,
    DEFLATE,
    PING,
    PONG,
    TEXT,
    close,
    deflated,
    echo,
    frame,
    inflated,
    request,
    serving,
)


def accepting(*messages):
    """An application that accepts, sends these, and waits for the end."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app


class Recorder:
    """Accepts, and keeps what it receives."""

    def __init__(self):
        self.received = asyncio.Queue()
        self.scope = None
        self.error = None

    async def __call__(self, scope, receive, send):
        self.scope = scope
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.received.put_nowait(message)
            if message["type"] == "websocket.disconnect":
                break
        try:
            await send({"type": "websocket.send", "text": "late"})
        except Exception as error:
            self.error = error
            raise

    async def disconnect(self):
        while (message := await self.received.get())["type"] != "websocket.disconnect":
            pass
        return message


# ---- the handshake -------------------------------------------------------------------------------


async def test_the_scope():
    app = Recorder()
    async with serving(app, root_path="/root") as server:
        async with server.websocket("/a%20b?c=d", protocol="one, two") as client:
            await client.send(close(1000))
            await client.closing()
            await app.disconnect()
        scope = app.scope
        assert scope["type"] == "websocket" and scope["scheme"] == "ws"
        assert scope["http_version"] == "1.1" and "method" not in scope
        assert (scope["path"], scope["raw_path"]) == ("/root/a b", b"/root/a%20b")
        assert scope["query_string"] == b"c=d" and scope["root_path"] == "/root"
        assert scope["subprotocols"] == ["one", "two"]
        assert scope["server"] == ("127.0.0.1", server.port)
        assert scope["client"][0] == "127.0.0.1"
        assert (b"sec-websocket-version", b"13") in scope["headers"]
        assert scope["extensions"] == {"websocket.http.response": {}}
        assert scope["asgi"]["version"] == "3.0"


async def test_subprotocol_and_headers_of_the_answer():
    async def app(scope, receive, send):
        await receive()
        await send(
            {
                "type": "websocket.accept",
                "subprotocol": scope["subprotocols"][1],
                "headers": [
                    (b"x-own", b"1"),
                    (b"Upgrade", b"h2c"),
                    (b"sec-websocket-accept", b"x"),
                ],
            }
        )

    async with serving(app) as server:
        async with server.client() as client:
            fields = await client.upgrade(protocol="one, two")
            assert fields["sec-websocket-protocol"] == "two" and fields["x-own"] == "1"
            assert "sec-websocket-extensions" not in fields
            assert (await client.closing()).code == 1000  # the application has returned


@pytest.mark.parametrize("of_operator", [False, True])
async def test_there_is_one_server_and_one_date(of_operator):
    async def app(scope, receive, send):
        await receive()
        headers = [(b"server", b"mine"), (b"Date", b"today")]
        await send({"type": "websocket.accept", "headers": headers})

    options = {"header": ["Server: other", "date: then"]} if of_operator else {}
    async with serving(app, **options) as server, server.client() as client:
        fields = await client.upgrade()
        expected = ("other", "then") if of_operator else ("mine", "today")
        assert (fields["server"], fields["date"]) == expected


@pytest.mark.parametrize(
    "parts, status",
    [
        ({"key": None}, 400),
        ({"key": "short"}, 400),
        ({"key": "dGhlIHNhbXBsZSBub25jZQ==", "fields": ["Sec-WebSocket-Key: x"]}, 400),
        ({"version": None}, 426),
        ({"version": "8"}, 426),
        ({"protocol": "caf\xe9"}, 400),
        ({"protocol": "\xff\xfe\x80"}, 400),
        ({"protocol": "a, a"}, 400),
        ({"protocol": "a b"}, 400),
    ],
)
async def test_handshakes_that_are_refused(parts, status):
    async def app(scope, receive, send):
        raise AssertionError("it is not asked")

    async with serving(app) as server:
        async with server.client() as client:
            await client.send(request(**parts))
            got, fields = await client.head()
            assert got == status and fields["connection"] == "close"
            assert fields.get("sec-websocket-version") == ("13" if status == 426 else None)
        async with server.client() as client:  # the others are served
            await client.send(request(key="x"))
            assert (await client.head())[0] == 400


async def test_what_comes_with_the_request_is_not_lost():
    async with serving(echo) as server:
        async with server.client() as client:
            await client.send(request() + frame(TEXT, b"early") + frame(PING, b"p"))
            assert (await client.head())[0] == 101
            got = [await client.frame(), await client.frame()]
            assert sorted(each.payload for each in got) == [b"early", b"p"]


async def test_no_deflate_unless_it_is_offered_and_wanted():
    async with serving(echo) as server:
        async with server.client() as client:
            assert "sec-websocket-extensions" not in await client.upgrade()
        async with server.client() as client:
            assert "sec-websocket-extensions" not in await client.upgrade(extensions="x-foo; a=1")
    async with serving(echo, ws_per_message_deflate=False) as server:
        async with server.client() as client:
            assert "sec-websocket-extensions" not in await client.upgrade(extensions=DEFLATE)
            await client.send(frame(TEXT, deflated(b"x" * 100), reserved=4))
            assert (await client.closing()).code == 1002


# ---- denial --------------------------------------------------------------------------------------


async def test_a_close_before_accept_is_a_403():
    async def app(scope, receive, send):
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.close", "code": 4000})
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app) as server:
        async with server.client() as client:
            await client.send(request())
            assert (await client.head())[0] == 403


async def test_a_denial_is_a_response_of_the_applications():
    async def app(scope, receive, send):
        await receive()
        headers = [(b"x-why", b"no"), (b"content-type", b"text/plain")]
        await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"a ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"teapot"})

    async with serving(app) as server:
        async with server.client() as client:
            await client.send(request())
            status, fields = await client.head()
            assert status == 418 and fields["x-why"] == "no"
            body = await client.reader.readuntil(b"0\r\n\r\n")
            assert body == b"2\r\na \r\n6\r\nteapot\r\n0\r\n\r\n"


@pytest.mark.parametrize("raises", [True, False])
async def test_an_application_that_ends_before_it_accepts_is_a_500(raises, caplog):
    async def app(scope, receive, send):
        if raises:
            raise ValueError("broken")

    async with serving(app) as server:
        with caplog.at_level(logging.ERROR, "penstock"):
            async with server.client() as client:
                await client.send(request())
                assert (await client.head())[0] == 500
        assert "in GET /" in caplog.text and ("broken" in caplog.text) == raises


# ---- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("extensions", [None, DEFLATE])
async def test_text_and_bytes(size, extensions):
    async with serving(echo) as server:
        async with server.websocket(extensions=extensions) as client:
            await client.send(frame(TEXT, b"x" * size), frame(BINARY, b"\xff" * size))
            assert await client.message() == (TEXT, b"x" * size)
            assert await client.message() == (BINARY, b"\xff" * size)


@pytest.mark.parametrize(
    "message, kind",
    [
        ({"type": "websocket.send"}, ValueError),
        ({"type": "websocket.send", "text": None, "bytes": None}, ValueError),
        ({"type": "websocket.send", "text": b"x"}, TypeError),
        ({"type": "websocket.send", "bytes": "x"}, TypeError),
        ({"type": "websocket.send", "text": "\ud800"}, UnicodeEncodeError),
        ({"type": "websocket.close", "code": 1005}, ValueError),
        ({"type": "websocket.close", "code": 99999999999999999999999}, OverflowError),
        ({"type": "websocket.close", "code": 1000, "reason": 5}, TypeError),
        ({"type": "websocket.accept"}, RuntimeError),
        ({"type": "http.response.start", "status": 200}, RuntimeError),
    ],
)
async def test_messages_that_can_not_be_sent(message, kind):
    raised = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await send(message)
        except Exception as error:
            raised.set_result(error)
        await send({"type": "websocket.send", "bytes": bytearray(b"fine")})

    async with serving(app) as server:
        async with server.websocket() as client:
            assert isinstance(await raised, kind)
            assert await client.message() == (BINARY, b"fine")


async def test_an_exception_is_a_1011(caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "first"})
        raise ValueError("broken")

    async with serving(app) as server:
        with caplog.at_level(logging.ERROR, "penstock"):
            async with server.websocket() as client:
                assert await client.message() == (TEXT, b"first")
                assert (await client.closing()).code == 1011
        assert "broken" in caplog.text


async def test_the_application_closes():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enöugh"})
        with pytest.raises(RuntimeError, match=r"after 'websocket\.close'"):
            await send({"type": "websocket.send", "text": "more"})
        disconnect = await receive()
        ended.set_result(disconnect)

    ended = asyncio.get_running_loop().create_future()
    async with serving(app) as server:
        async with server.websocket() as client:
            got = await client.closing()
            assert (got.code, got.reason) == (4001, "enöugh")
            assert await ended == {"type": "websocket.disconnect", "code": 4001, "reason": "enöugh"}


# ---- the client goes -----------------------------------------------------------------------------


async def test_the_clients_close():
    app = Recorder()
    async with serving(app) as server:
        async with server.websocket() as client:
            await client.send(frame(TEXT, b"last"), close(4999, "tschüß".encode()))
            assert (await client.closing()).code == 4999
        assert await app.received.get() == {"type": "websocket.receive", "text": "last"}
        assert await app.disconnect() == {
            "type": "websocket.disconnect",
            "code": 4999,
            "reason": "tschüß",
        }
    assert isinstance(app.error, OSError)


async def test_a_client_that_vanishes_is_a_1006():
    app = Recorder()
    async with serving(app) as server:
        async with server.websocket() as client:
            client.writer.transport.abort()
        assert (await app.disconnect())["code"] == 1006
    assert isinstance(app.error, OSError)


async def test_a_client_that_goes_before_it_is_accepted():
    seen = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        await receive()
        message = await receive()
        with pytest.raises(OSError):
            await send({"type": "websocket.accept"})
        seen.set_result(message)

    async with serving(app) as server:
        async with server.client() as client:
            await client.send(request())
            client.writer.write_eof()
            assert (await seen)["code"] == 1006


# ---- flow control --------------------------------------------------------------------------------


async def test_reading_pauses_while_the_application_does_not_receive():
    go = asyncio.Event()
    got = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        while (message := await receive())["type"] == "websocket.receive":
            got.append(message["bytes"])

    async with serving(app, ws_max_queue=4) as server:
        async with server.websocket() as client:
            client.writer.transport.set_write_buffer_limits(0)
            sent = 0
            payload = b"x" * 60000
            # Until the kernel's buffers are full as well.
            for sent in count(1):
                client.write(frame(BINARY, payload))
                try:
                    await asyncio.wait_for(client.writer.drain(), 0.5)
                except TimeoutError:
                    break
                assert sent < 2000, "nothing holds the client back"
            go.set()
            await client.send(close(1000))
            await client.closing()
    assert len(got) == sent and set(got) == {payload}


async def test_send_waits_while_the_client_does_not_read():
    waits = asyncio.Event()
    done = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(300):
            sending = asyncio.ensure_future(
                send({"type": "websocket.send", "bytes": bytes(100000)})
            )
            await asyncio.wait([sending], timeout=0.2)
            if not sending.done():
                waits.set()
            await sending
        done.set()

    async with serving(app) as server:
        async with server.websocket() as client:
            await waits.wait()
            assert not done.is_set()
            for _ in range(300):
                assert await client.message() == (BINARY, bytes(100000))
            assert (await client.closing()).code == 1000


async def test_pongs_that_nobody_takes_fill_no_memory():
    """Only the last ping has to be answered: RFC 6455, 5.5.3."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": bytes(8 << 20)})
        while (await receive())["type"] == "websocket.receive":
            pass

    async with serving(app) as server:
        async with server.websocket() as client:
            await client.send(*(frame(PING, b"%d" % number) for number in range(20000)))
            assert await client.message() == (BINARY, bytes(8 << 20))
            pongs = []
            while not pongs or pongs[-1] != b"19999":
                got = await client.frame()
                assert got.opcode == PONG
                pongs.append(got.payload)
            assert len(pongs) < 20000


# ---- deadlines -----------------------------------------------------------------------------------


async def test_pings_and_a_client_that_answers():
    async with serving(echo, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server:
        async with server.websocket() as client:
            for _ in range(3):
                got = await client.frame()
                assert got.opcode == PING
                await client.send(frame(PONG, got.payload))


async def test_a_client_that_answers_no_ping():
    app = Recorder()
    async with serving(app, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server:
        async with server.websocket() as client:
            assert (await client.frame()).opcode == PING
            got = await client.closing()
            assert (got.code, got.reason) == (1011, "keepalive ping timeout")
        assert (await app.disconnect())["code"] == 1011


async def test_an_unanswered_close_frame():
    app = accepting({"type": "websocket.close", "code": 1000})
    async with serving(app, ws_close_timeout=0.1, timeout_linger=0.1) as server:
        async with server.websocket() as client:
            assert (await client.frame()).opcode == CLOSE
            assert await client.reader.read() == b""


@pytest.mark.parametrize("restarts, code", [(False, 1001), (True, 1012)])
async def test_the_server_stops(restarts, code):
    app = Recorder()
    async with serving(app) as server:
        async with server.websocket() as client:
            server.server.stop(restarts=restarts)
            assert (await client.closing()).code == code
            assert (await app.disconnect())["code"] == code
    assert isinstance(app.error, OSError)


async def behind_pings(client):
    while (got := await client.frame()).opcode == PING:
        pass
    return got


@pytest.mark.parametrize(
    "begin, bit",
    [
        (frame(BINARY, length=100_000), b"x"),
        (frame(BINARY, b"x", final=False), frame(0, b"x", final=False)),
        (frame(BINARY, b"x", final=False), frame(PONG, bytes(100))),
        (frame(BINARY, deflated(bytes(10)), final=False, reserved=4), frame(0, final=False)),
        (frame(TEXT, b"whole") + frame(BINARY, length=100_000), b"x"),
    ],
    ids=["bytes", "fragments", "pongs", "inflated", "behind another"],
)
@pytest.mark.parametrize(
    "options",
    [{"body_rate": 10_000, "timeout_body_grace": 0.2}, {"body_rate": 0, "timeout_body": 0.2}],
    ids=["rate", "stalled"],
)
async def test_a_message_that_comes_too_slowly(begin, bit, options):
    app = Recorder()
    limits = {"limit_ws_fragments": 1 << 20, "ws_ping_interval": 0.1}  # and pongs change nothing
    async with asyncio.timeout(20), serving(app, **options, **limits) as server:
        async with server.websocket(extensions=DEFLATE) as client:
            await client.send(begin)
            told = asyncio.ensure_future(behind_pings(client))
            while options["body_rate"] and not told.done():
                client.write(bit)
                await asyncio.wait([told], timeout=0.003)
            got = await told
            assert (got.opcode, got.code, got.reason) == (CLOSE, 1008, "message too slow")
        assert (await app.disconnect())["code"] == 1008


async def test_a_message_that_comes_fast_enough():
    """And a client that says nothing between two of them is not late."""
    options = {"timeout_body": 0.6, "timeout_body_grace": 0.1, "body_rate": 20}
    async with asyncio.timeout(20), serving(echo, **options) as server:
        async with server.websocket() as client:
            for _ in range(2):
                for number in range(100):
                    kind = 0 if number else BINARY
                    await client.send(frame(kind, b"x", final=number == 99))
                    await asyncio.sleep(0.012)
                assert await client.message() == (BINARY, b"x" * 100)
                await asyncio.sleep(0.8)


async def test_a_message_that_the_application_lets_wait_is_not_late():
    options = {"timeout_body": 0.2, "timeout_body_grace": 0.1, "body_rate": 1000}
    go = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})

    async with asyncio.timeout(20), serving(app, ws_max_queue=1, **options) as server:
        async with server.websocket() as client:
            message = frame(BINARY, b"a")
            await client.send(message, message, message[:-1])
            await asyncio.sleep(1.2)
            go.set()
            await client.send(message[-1:])
            for _ in range(3):
                assert await client.message() == (BINARY, b"a")


# ---- limits --------------------------------------------------------------------------------------


def fragments(number, payload=b""):
    first = frame(BINARY, payload, final=False)
    return first + frame(0, payload, final=False) * (number - 2) + frame(0, payload)


@pytest.mark.parametrize(
    "options, data, code",
    [
        ({"ws_max_size": 1000}, frame(BINARY, bytes(1001)), 1009),
        ({"ws_max_size": 1000}, frame(BINARY, length=1001), 1009),
        ({"ws_max_size": 1000}, fragments(3, bytes(334)), 1009),
        ({"ws_max_size": 1000}, frame(BINARY, deflated(bytes(1001)), reserved=4), 1009),
        ({}, frame(BINARY, length=(1 << 63) - 1), 1009),
        ({}, frame(BINARY, length=1 << 63), 1002),
        ({}, frame(BINARY, length=(1 << 64) - 1), 1002),
        ({}, frame(BINARY, length=125, width=2), 1002),
        ({}, frame(BINARY, length=65535, width=8), 1002),
        ({}, frame(BINARY, b"x", masked=False), 1002),
        ({}, fragments(1025), 1009),
        ({"limit_ws_fragments": 5}, fragments(6), 1009),
        ({}, frame(BINARY, deflated(bytes(15 << 20)), reserved=4), 1009),
        ({"ws_max_size": 1 << 30}, frame(BINARY, deflated(bytes(64 << 20)), reserved=4), 1009),
        ({}, frame(TEXT, b"\x06\xff\xff", reserved=4), 1007),
    ],
)
async def test_what_is_refused(options, data, code):
    app = Recorder()
    async with serving(app, **options) as server:
        async with server.websocket(extensions=DEFLATE) as client:
            await client.send(data)
            assert (await client.closing()).code == code
        assert (await app.disconnect())["code"] == code


@pytest.mark.parametrize(
    "options, data, size",
    [
        ({"ws_max_size": 1000}, frame(BINARY, bytes(1000)), 1000),
        ({"ws_max_size": 1000}, frame(BINARY, deflated(bytes(1000)), reserved=4), 1000),
        ({}, fragments(1024), 0),
        ({}, fragments(5000, bytes(16)), 80000),
        ({}, frame(BINARY, deflated(bytes(1 << 20)), reserved=4), 1 << 20),
        ({"limit_ws_inflation": 0}, frame(BINARY, deflated(bytes(8 << 20)), reserved=4), 8 << 20),
    ],
)
async def test_what_is_just_within(options, data, size):
    async with serving(echo, **options) as server:
        async with server.websocket(extensions=DEFLATE) as client:
            await client.send(data)
            assert await client.message() == (BINARY, bytes(size))


# ---- who sends too much, or bit by bit -----------------------------------------------------------


async def test_what_comes_before_it_is_accepted_is_bounded():
    """The rest waits with the client, and is there afterwards."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await go.wait()
        await echo_on(scope, receive, send)

    async def echo_on(scope, receive, send):
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": b"%d" % len(message["bytes"])})

    async with asyncio.timeout(10), serving(app, limit_pipelined=1000) as server:
        async with server.client() as client:
            size = 8 << 20
            client.write(request(), frame(BINARY, bytes(size)))
            sending = asyncio.ensure_future(client.writer.drain())
            taken = -1
            while taken != (taken := server.server.measure()["received_bytes"]) or not taken:
                await asyncio.sleep(0.05)
            assert taken < 1 << 20 and not sending.done()
            go.set()
            await sending
            assert (await client.head())[0] == 101
            assert await client.message() == (BINARY, b"%d" % size)


async def test_a_message_byte_by_byte():
    """A client that sends is not silent: no ping of its is missed."""
    async with (
        asyncio.timeout(10),
        serving(echo, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server,
        server.websocket(extensions=DEFLATE) as client,
    ):
        payload = b"x" * 200
        text = frame(TEXT, payload[:100], final=False) + frame(0, payload[100:])
        text += frame(BINARY, deflated(payload), reserved=4)
        pings = 0

        async def reads():
            nonlocal pings
            got = []
            while len(got) < 2:
                each = await client.frame()
                if each.opcode == PING:
                    pings += 1
                else:
                    got.append(inflated(each.payload) if each.reserved == 4 else each.payload)
            return got

        reading = asyncio.ensure_future(reads())
        for at in range(len(text)):
            await client.send(text[at : at + 1])
            await asyncio.sleep(0.005)
        assert await reading == [payload, payload]
        assert pings
