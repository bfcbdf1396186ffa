"""Keep-alive, pipelining, refusals, and how connections end."""

import asyncio
import socket
import struct
import time

import pytest

from .conftest import echo, hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_keep_alive(serve):
    async with serve(hello) as serving, serving.client() as client:
        for _ in range(100):
            await client.send(GET)
            assert (await client.response())[2] == b"Hello, world"


@pytest.mark.parametrize(
    ("request_", "stays"),
    [
        (GET, True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
async def test_whether_the_connection_stays(serve, request_, stays):
    async with serve(hello) as serving, serving.client() as client:
        await client.send(request_)
        _, fields, _ = await client.response()
        assert (fields.get("connection") == "close") != stays
        if stays:
            await client.send(request_)
            assert (await client.response())[0] == 200
        else:
            assert await client.ended() == b""


@pytest.mark.parametrize("sleeps", [False, True])
async def test_pipelined_requests_are_answered_in_order(serve, sleeps):
    async def app(scope, receive, send):
        if sleeps:
            await asyncio.sleep(0)
        await echo(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        requests = [
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % number
            for number in range(200)
        ]
        await client.send(b"".join(requests))
        for number in range(200):
            assert (await client.response())[2] == b"/%dabc" % number


async def test_a_pipeline_is_not_taken_without_end(serve):
    """While one request is answered, the next ones wait with the client."""
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await go_on.wait()
        await echo(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        count = 400_000
        client.writer.write(GET * count)
        sending = asyncio.ensure_future(client.writer.drain())
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done
        go_on.set()
        for _ in range(500):
            assert (await client.response())[0] == 200
        sending.cancel()
        client.writer.transport.abort()


@pytest.mark.parametrize("way", ["closes", "resets", "tls"])
async def test_who_leaves_behind_a_full_pipeline(serve, secured, way):
    """Nothing of it is read, and still the application hears of it."""
    options, context = secured if way == "tls" else ({}, None)
    begun, left = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with serve(app, **options) as serving, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", serving.port, ssl=context)
        writer.write(GET * 4000)  # more than limit_pipelined, and the kernel has room for its end
        await begun.wait()
        while serving.server.measure()["received_bytes"] < 64 << 10:
            await asyncio.sleep(0.01)
        if way == "resets":
            linger = struct.pack("ii", 1, 0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await left.wait()


async def test_a_full_pipeline_whose_client_closes_its_half_is_answered(serve):
    """Also by an application that asks whether it is still there first."""

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        await hello(scope, receive, send)

    count = 5000
    async with serve(app, access_log=False) as serving, serving.client() as client:
        client.writer.write(GET * count)
        client.writer.write_eof()
        for _ in range(count):
            assert (await client.response())[2] == b"Hello, world"
        assert await client.ended() == b""


async def test_byte_by_byte(serve):
    async with serve(echo) as serving, serving.client() as client:
        text = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        text += b"3\r\nabc\r\n0\r\n\r\n"
        for number in range(len(text)):
            await client.send(text[number : number + 1])
            await asyncio.sleep(0)
        assert (await client.response())[2] == b"/xabc"
        await client.send(GET)
        assert (await client.response())[2] == b"/"


def post(*lines, content=b""):
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: a", *lines, b"", content))


def chunked(content):
    return post(b"Transfer-Encoding: chunked", content=content)


@pytest.mark.parametrize(
    ("options", "text", "status"),
    [
        ({}, b"nonsense\r\n\r\n", 400),
        ({}, b"GET / HTTP/1.1\r\n\r\n", 400),
        ({}, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ({}, b"GET / HTTP/1.1\nHost: a\n\n", 400),
        ({}, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ({}, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ({}, b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        ({}, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        ({}, b"X" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ({}, b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ({}, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx", 400),
        ({}, post(b"Content-Length: +3", content=b"abc"), 400),
        ({}, post(b"Content-Length: 3", b"Transfer-Encoding: chunked", content=b"0\r\n\r\n"), 400),
        ({}, post(b"Transfer-Encoding: gzip, chunked", content=b"0\r\n\r\n"), 501),
        ({}, post(b"Content-Length: 3", b"Expect: 200-ok", content=b"abc"), 417),
        ({}, b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ({}, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
        ({}, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        ({}, post(b"Content-Length: 9999999999"), 413),
        ({"limit_target": 5}, b"GET /abcde HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ({"limit_head": 34}, b"GET /abcd HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", 431),
        ({"limit_fields": 2}, post(b"X: 1", b"Y: 2"), 431),
        ({"limit_body": 4}, post(b"Content-Length: 5", content=b"abcde"), 413),
        ({"limit_body": 4}, chunked(b"5\r\nabcde\r\n0\r\n\r\n"), 413),
        ({"limit_body": 4}, chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 413),
        ({"limit_chunk_extension": 4}, chunked(b"1;a=bc\r\nx\r\n0\r\n\r\n"), 400),
        ({"limit_trailers": 6}, chunked(b"0\r\nX: ab\r\n\r\n"), 431),
        ({"limit_fields": 2}, chunked(b"0\r\nX: a\r\nY: b\r\nZ: c\r\n\r\n"), 431),
    ],
)
async def test_refusals(serve, options, text, status):
    """The client is told, and is told so although it is still sending."""
    called = []

    async def app(scope, receive, send):
        called.append(scope)

    async with serve(app, **options) as serving, serving.client() as client:
        await client.send(text)
        got, fields, content = await client.response()
        assert (got, fields["connection"]) == (status, "close")
        assert content, "nothing says why"
        assert await client.ended() == b""
    assert not called


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit_target": 5}, b"GET /abcd HTTP/1.1\r\nHost: a\r\n\r\n"),
        ({"limit_head": 34}, b"GET /abc HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"),
        ({"limit_fields": 2}, post(b"X: 1")),
        ({"limit_body": 4}, post(b"Content-Length: 4", content=b"abcd")),
        ({"limit_body": 4}, chunked(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")),
        ({"limit_chunk_extension": 4}, chunked(b"1;a=b\r\nx\r\n0\r\n\r\n")),
        ({"limit_trailers": 6}, chunked(b"0\r\nX: a\r\n\r\n")),
        ({"limit_fields": 2}, chunked(b"0\r\nX: a\r\nY: b\r\n\r\n")),
    ],
)
async def test_what_is_just_within_the_limits(serve, options, text):
    async with serve(echo, **options) as serving, serving.client() as client:
        await client.send(text)
        assert (await client.response())[0] == 200


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_refusal_reaches_a_client_that_goes_on_sending(serve, secured, is_tls):
    options, context = secured if is_tls else ({}, None)
    async with serve(hello, limit_body=1000, **options) as serving:
        async with serving.client(context) as client:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
            client.writer.write(bytes(5_000_000))
            assert (await client.response())[0] == 413


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_refused_client_that_never_closes(serve, secured, is_tls):
    options, context = secured if is_tls else ({}, None)
    async with serve(hello, timeout_linger=0.2, **options) as serving:
        async with serving.client(context) as client, asyncio.timeout(30):
            await client.send(b"nothing\r\n\r\n")
            assert (await client.response())[0] == 400
            while True:
                try:
                    await client.send(b"more")
                except OSError:
                    break
                await asyncio.sleep(0.01)


async def test_a_chunked_body_that_goes_wrong(serve):
    async with serve(echo) as serving, serving.client() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"
        )
        await client.send(b"cX\r\n0\r\n\r\n")
        assert (await client.response())[0] == 400
        assert await client.ended() == b""


async def test_an_answer_before_the_body_has_come(serve):
    """What is left of it is thrown away, and the connection goes on."""
    async with serve(hello) as serving, serving.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        assert (await client.response())[0] == 200
        await client.send(b"x" * 1000, GET)
        assert (await client.response())[0] == 200


async def test_an_answer_before_a_large_body_has_come(serve):
    """Too much to be thrown away: the connection ends, and the answer arrives."""
    async with serve(hello) as serving, serving.client() as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        client.writer.write(bytes(1_000_000))
        assert (await client.response())[0] == 200
        try:
            assert await client.ended() == b""
        except ConnectionResetError:
            pass


async def test_half_closed(serve):
    async def app(scope, receive, send):
        await asyncio.sleep(0.01)
        await echo(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        await client.send(GET)
        client.writer.write_eof()
        assert (await client.response())[2] == b"/"
        assert await client.ended() == b""


@pytest.mark.parametrize("rest", [b"", b"GET /cut HTTP/1.1\r\nHo"])
@pytest.mark.parametrize("sleeps", [False, True])
async def test_a_half_closed_pipeline(serve, sleeps, rest):
    async def app(scope, receive, send):
        if sleeps:
            await asyncio.sleep(0)
        await echo(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        requests = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(40)]
        client.writer.write(b"".join(requests) + rest)
        client.writer.write_eof()
        for number in range(40):
            assert (await client.response())[2] == b"/%d" % number
        assert await client.ended() == b""


@pytest.mark.parametrize("rest", [0, 1, 70_000])
async def test_half_closed_while_a_body_waits_to_be_looked_at(serve, rest):
    """Of a long body a part is looked at, and then the end comes: the rest is not lost."""
    content = bytes(range(256)) * 300
    loop = asyncio.get_running_loop()

    async def app(scope, receive, send):
        whole = b""
        while len(whole) < len(content) + rest:
            await asyncio.sleep(0.01)  # all has come that is read
            # A turn that takes long is cut: what has come meanwhile is told before what is due.
            loop.call_soon(time.sleep, 0.02)
            for _ in range(1000):
                loop.call_soon(int)
            message = await receive()
            assert message["type"] == "http.request"
            whole += message["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": whole})

    async with asyncio.timeout(10), serve(app) as serving, serving.client() as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = [content, content[:rest]] if rest else [content]
        chunks = b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        client.writer.write(head + chunks + b"0\r\n\r\n")
        client.writer.write_eof()
        assert (await client.response())[2] == content + content[:rest]
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5"]
)
async def test_a_half_closed_pipeline_that_ends_amid_a_body(serve, caplog, rest):
    """As of one request alone: who has not begun does not, and nobody's log tells of it."""
    begun = []

    async def app(scope, receive, send):
        begun.append(scope["path"])
        assert not (await receive())["more_body"]
        assert (await receive())["type"] == "http.disconnect"  # it has closed its half
        await hello(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        client.writer.write(GET + b"POST /cut HTTP/1.1\r\nHost: a\r\n" + rest)
        client.writer.write_eof()
        assert (await client.response())[0] == 200
        assert await client.ended() == b""
    assert begun == ["/"]
    assert not caplog.records


async def test_closed_in_the_midst_of_a_body(serve):
    got = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        got.set_result(message)

    async with serve(app) as serving:
        async with serving.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            client.writer.write_eof()
            assert await got == {"type": "http.disconnect"}


@pytest.mark.parametrize("turns", range(4))
async def test_closed_over_tls_in_the_midst_of_a_body(serve, secured, caplog, turns):
    """Who asks before the connection is lost hears of it, and need not answer any more."""
    got = asyncio.get_running_loop().create_future()
    options, context = secured

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
            for _ in range(turns):
                await asyncio.sleep(0)
        got.set_result(message)

    async with serve(app, **options) as serving:
        async with serving.client(tls=context) as client:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            client.writer.close()
        async with asyncio.timeout(20):
            assert await got == {"type": "http.disconnect"}
    assert not caplog.records


async def test_reset_before_a_file_is_sent(serve, tmp_path, caplog):
    """The head finds it out, and the application is told as by any other message."""
    got = asyncio.get_running_loop().create_future()
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))

    async def app(scope, receive, send):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.pathsend", "path": str(path)})
        except OSError as error:
            got.set_result(error)
            raise

    async with serve(app) as serving:
        sock = socket.create_connection(("127.0.0.1", serving.port))
        sock.send(GET)
        async with asyncio.timeout(5):
            assert isinstance(await got, ConnectionResetError)
    assert not caplog.records


# ---- who takes too much ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["send", "receive", "websocket.send", "websocket.receive"])
async def test_an_application_that_never_waits_does_not_keep_the_loop(serve, how):
    """It hears that its client has gone, and meanwhile others are served."""
    ends = asyncio.Queue()
    patience = time.monotonic() + 30  # seconds, in which a loop that is kept is given back

    async def app(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/hello":
            return await hello(scope, receive, send)
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            message = {"type": "websocket.send", "bytes": b"x" * 1000}
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            message = {"type": "http.response.body", "body": b"x" * 1000, "more_body": True}
        await send(message)
        try:
            while time.monotonic() < patience:
                if how.endswith("send"):
                    await send(message)
                else:
                    await receive()
            ends.put_nowait("its patience")
        except (OSError, asyncio.CancelledError) as error:
            ends.put_nowait(type(error))
            raise

    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    async with serve(app, timeout_graceful_shutdown=0.1) as serving:
        async with serving.client() as client:
            lines = upgrade if how.startswith("websocket") else b""
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
            await client.reader.readuntil(b"xxx")
        get = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        for _ in range(3):
            assert (await serving.get(get))[2] == b"Hello, world"
    expected = ConnectionResetError if how.endswith("send") else asyncio.CancelledError
    assert await ends.get() is expected


async def test_too_many_connections(serve):
    async with serve(hello, limit_concurrency=2) as serving:
        async with serving.client() as first, serving.client() as second:
            for client in (first, second):
                await client.send(GET)
                assert (await client.response())[0] == 200
            async with serving.client() as third:
                assert (await third.response())[0] == 503
                assert await third.ended() == b""


# ---- the end -----------------------------------------------------------------------------------


async def test_the_end_waits_for_what_is_under_way(serve):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with serve(app) as serving, serving.client() as busy, serving.client() as idle:
        await idle.send(GET[:10])
        await busy.send(GET)
        await begun.wait()
        serving.server.stop()
        await asyncio.sleep(0.1)
        go_on.set()
        status, fields, _ = await busy.response()
        assert (status, fields["connection"]) == (200, "close")
        assert await busy.ended() == b""
        await idle.send(GET[10:])
        assert (await idle.response())[0] in (200,)


async def test_the_end_has_a_deadline(serve, caplog):
    cancelled = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set_result(None)
            raise

    async with serve(app, timeout_graceful_shutdown=0.1) as serving, serving.client() as client:
        await client.send(GET)
        while not serving.server.running:
            await asyncio.sleep(0.01)
        serving.server.stop()
        await cancelled
    assert "cut off" in caplog.text


async def test_idle_connections_end_with_the_server(serve):
    async with serve(hello) as serving, serving.client() as client:
        await client.send(GET)
        assert (await client.response())[0] == 200
        serving.server.stop()
        assert await client.ended() == b""
