"""Keep-alive, pipelining, refusals, deadlines, and how connections end."""

import asyncio
import contextlib
import socket
import ssl
import time

import pytest
import trustme

from .conftest import hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def secured(tmp_path):
    """A server's options for TLS, and a client's context."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    chain = tmp_path / "chain.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    return {"ssl_certfile": str(chain)}, context


async def echo(scope, receive, send):
    whole = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        whole += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["raw_path"] + whole})


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


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", 413),
    ],
)
async def test_refusals(serve, text, status):
    """The client is told, and is told so although it is still sending."""
    called = []

    async def app(scope, receive, send):
        called.append(scope)

    async with serve(app) as serving, serving.client() as client:
        await client.send(text)
        got, fields, content = await client.response()
        assert (got, fields["connection"]) == (status, "close")
        assert content, "nothing says why"
        assert await client.ended() == b""
    assert not called


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


# ---- deadlines ---------------------------------------------------------------------------------


async def test_a_head_that_does_not_end(serve):
    async with serve(hello, timeout_head=0.2) as serving, serving.client() as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        assert (await client.response())[0] == 408
        assert await client.ended() == b""


async def test_a_client_that_says_nothing(serve):
    async with serve(hello, timeout_head=0.2) as serving, serving.client() as client:
        assert await client.ended() == b""


async def test_keep_alive_ends(serve):
    async with serve(hello, timeout_keep_alive=0.2) as serving, serving.client() as client:
        await client.send(GET)
        assert (await client.response())[0] == 200
        assert await client.ended() == b""


@pytest.mark.parametrize("ends", [False, True])
async def test_a_server_that_is_late_itself_loses_no_request(serve, ends):
    """More wait to be read than one turn takes in, and the deadlines are looked at before."""
    loop = asyncio.get_running_loop()
    options = {"timeout_drain": 0.2} if ends else {"timeout_keep_alive": 0.2}
    with contextlib.ExitStack() as stack:
        async with serve(hello, **options) as serving:
            clients = []
            for _ in range(400):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", serving.port))
                clients.append(client)
            for client in clients:
                client.send(GET)
            for client in clients:
                assert (await loop.sock_recv(client, 1000)).endswith(b"Hello, world")
            for client in clients:
                client.send(GET)
            time.sleep(0.3)
            if ends:
                serving.server.stop()
            for client in clients:
                assert (await loop.sock_recv(client, 1000)).endswith(b"Hello, world")


async def test_a_body_that_does_not_come(serve):
    async with serve(echo, timeout_body=0.2) as serving, serving.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.response())[0] == 408
        assert await client.ended() == b""


async def test_a_body_that_comes_too_slowly(serve):
    options = {"body_rate": 1000, "timeout_body_grace": 0.2}
    async with serve(echo, **options) as serving, serving.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        response = asyncio.ensure_future(client.response())
        while not response.done():
            await client.send(b"x")
            await asyncio.wait([response], timeout=0.05)
        assert (await response)[0] == 408


async def test_the_request_deadline(serve):
    cancelled = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            cancelled.set_result(str(error))
            raise

    async with serve(app, timeout_request=0.2) as serving:
        assert (await serving.get())[0] == 504
        assert "deadline" in await cancelled


async def test_a_client_that_takes_nothing(serve):
    ended = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send(
                    {"type": "http.response.body", "body": bytes(1 << 20), "more_body": True}
                )
        except OSError as error:
            ended.set_result(error)

    async with serve(app, timeout_write=0.3) as serving, serving.client() as client:
        client.writer.transport.pause_reading()
        await client.send(GET)
        await ended
        client.writer.transport.abort()


@pytest.mark.parametrize("way", ["kernel", "tls"])
async def test_a_client_that_takes_nothing_of_a_file(serve, secured, tmp_path, way):
    ended = asyncio.get_running_loop().create_future()
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
    options, context = secured if way == "tls" else ({}, None)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.pathsend", "path": str(file)})
        except OSError as error:
            ended.set_result(error)

    async with serve(app, timeout_write=0.3, **options) as serving:
        opened = asyncio.open_connection("127.0.0.1", serving.port, ssl=context)
        _reader, writer = await opened
        writer.transport.pause_reading()
        writer.write(GET)
        assert isinstance(await ended, ConnectionError)
        writer.transport.abort()


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_who_sends_at_once_waits_for_a_client_that_takes_nothing(serve, kind):
    """As many as they are, no more is queued than one after the other would queue."""
    given_up = asyncio.Event()

    async def app(scope, receive, send):
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            message = {"type": "http.response.body", "body": bytes(100_000), "more_body": True}
        else:
            await receive()
            await send({"type": "websocket.accept"})
            message = {"type": "websocket.send", "bytes": bytes(100_000)}
        tasks = [asyncio.ensure_future(send(message)) for _ in range(300)]
        await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        given_up.set()
        await asyncio.wait(tasks)
        end = "http.response.body" if kind == "http" else "websocket.close"
        await send({"type": end})

    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    lines = upgrade if kind == "websocket" else b"Connection: close\r\n"
    async with serve(app) as serving, serving.client() as client, asyncio.timeout(30):
        client.writer.transport.pause_reading()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        await given_up.wait()
        client.writer.transport.resume_reading()
        taken = b""
        while not taken.endswith((b"\r\n0\r\n\r\n", b"\x88\x02\x03\xe8")):
            taken += await client.reader.read(1 << 20)
        assert len(taken) < 10_000_000


async def test_a_client_that_takes_a_large_body_steadily_is_not_cut_off(serve):
    size = 64 << 20

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(size)})

    async with serve(app, timeout_write=1) as serving, serving.client() as client:
        await client.send(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        loop = asyncio.get_running_loop()
        began, taken = loop.time(), 0
        while taken < size:
            # So slowly that all of it takes longer than the deadline.
            await asyncio.sleep(began + 3 * taken / size - loop.time())
            taken += len(await client.reader.read(1 << 20))
        assert loop.time() - began > 2


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
