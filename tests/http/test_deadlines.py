"""Clients that are late, that send bit by bit or take nothing, and requests that take too long."""

import asyncio
import contextlib
import socket
import time

import pytest

from .conftest import echo, hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
LONG = POST + b"Content-Length: 100000\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PATIENCE = 4  # seconds: less than --timeout-keep-alive and all longer ones


async def length(scope, receive, send):
    """Answers with how much it has read."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


async def dribbled(client, bit):
    """All that a client gets that goes on until it is refused."""
    answer = asyncio.ensure_future(client.ended())
    while not answer.done():
        client.writer.write(bit)
        await asyncio.wait([answer], timeout=0.003)
    return await answer


@pytest.fixture
def bounded(serve):
    """A client, for a time in which the defaults would not have ended it."""

    @contextlib.asynccontextmanager
    async def connected(app, **options):
        async with asyncio.timeout(PATIENCE), serve(app, **options) as serving:
            async with serving.client() as client:
                yield client

    return connected


# ---- who is late --------------------------------------------------------------------------------


async def test_a_head_that_does_not_end(bounded):
    async with bounded(hello, timeout_head=0.2) as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        assert (await client.response())[0] == 408
        assert await client.ended() == b""


async def test_a_client_that_says_nothing(bounded):
    async with bounded(hello, timeout_head=0.2) as client:
        assert await client.ended() == b""


async def test_keep_alive_ends(bounded):
    async with bounded(hello, timeout_keep_alive=0.2) as client:
        await client.send(GET)
        assert (await client.response())[0] == 200
        assert await client.ended() == b""


def hello_of_aiohttp():
    web = pytest.importorskip("aiohttp.web")

    async def answer(request):
        return web.Response(text="Hello, world")

    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("make", [lambda: hello, hello_of_aiohttp], ids=["asgi", "aiohttp"])
async def test_a_server_that_is_late_itself_loses_no_request(serve, make, ends):
    """More wait to be read than one turn takes in, and the deadlines are looked at before."""
    loop = asyncio.get_running_loop()
    options = {"timeout_drain": 0.2} if ends else {"timeout_keep_alive": 0.2}
    with contextlib.ExitStack() as stack:
        async with serve(make(), **options) as serving:
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
            time.sleep(0.6)
            if ends:
                serving.server.stop()
            for client in clients:
                assert (await loop.sock_recv(client, 1000)).endswith(b"Hello, world")


async def test_a_body_that_does_not_come(bounded):
    async with bounded(echo, timeout_body=0.2) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.response())[0] == 408
        assert await client.ended() == b""


async def test_a_body_that_comes_too_slowly(bounded):
    options = {"body_rate": 1000, "timeout_body_grace": 0.2}
    async with bounded(echo, **options) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        response = asyncio.ensure_future(client.response())
        while not response.done():
            await client.send(b"x")
            await asyncio.wait([response], timeout=0.05)
        assert (await response)[0] == 408


async def test_the_request_deadline(bounded):
    cancelled = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            cancelled.set_result(str(error))
            raise

    async with bounded(app, timeout_request=0.2) as client:
        await client.send(GET)
        assert (await client.response())[0] == 504
        assert "deadline" in await cancelled


# ---- what is dribbled --------------------------------------------------------------------------


@pytest.mark.parametrize("behind", ["nothing", "a response", "a request", "a body"])
@pytest.mark.parametrize(
    ("begin", "bit"),
    [
        (b"GET /", b"x"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
        (LONG, b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"1;", b"x"),
        (CHUNKED + b"0\r\nX: ", b"x"),
    ],
    ids=["target", "field", "fields", "body", "chunks", "extension", "trailer"],
)
async def test_what_is_dribbled(bounded, behind, begin, bit):
    options = {
        "timeout_head": 0.2,
        "timeout_body": 0.2,
        "timeout_body_grace": 0.2,
        "body_rate": 10_000,
        "timeout_keep_alive": 30,
        # None of these is what ends it.
        "limit_target": 1 << 20,
        "limit_head": 1 << 20,
        "limit_fields": 1 << 20,
        "limit_chunk_extension": 1 << 20,
        "limit_trailers": 1 << 20,
    }
    async with bounded(length, **options) as client:
        if behind == "a response":
            await client.send(GET)
            assert (await client.response())[0] == 200
        elif behind == "a body":
            await client.send(POST + b"Content-Length: 3\r\n\r\na")
            await asyncio.sleep(0)
        # In one read with the end of what stands before it.
        await client.send({"a request": GET, "a body": b"bc"}.get(behind, b"") + begin)
        if behind in ("a request", "a body"):
            assert (await client.response())[0] == 200
        got = await dribbled(client, bit)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("begin", [LONG, CHUNKED + b"1;", CHUNKED + b"0\r\nX: "])
async def test_what_is_dribbled_behind_the_answer(bounded, begin):
    """There is no second answer: a proxy would take it for the next request's."""
    options = {"timeout_body": 0.2, "timeout_body_grace": 0.2, "body_rate": 10_000}
    options |= {"limit_chunk_extension": 1 << 20, "limit_trailers": 1 << 20}
    async with bounded(hello, **options) as client:
        await client.send(begin)
        assert (await client.response())[0] == 200
        assert await dribbled(client, b"x") == b""


async def test_what_is_dribbled_fast_enough(serve):
    """Longer than each of the times."""
    options = {"timeout_body": 1, "timeout_body_grace": 0.1, "body_rate": 20}
    async with asyncio.timeout(20), serve(length, **options) as serving, serving.client() as client:
        await client.send(POST + b"Content-Length: 100\r\n\r\n")
        for _ in range(100):
            await client.send(b"x")
            await asyncio.sleep(0.012)
        assert (await client.response())[2] == b"100"


# ---- refused clients ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begin",
    [POST + b"Content-Length: 5000\r\n\r\n", CHUNKED + b"fff\r\n"],
    ids=["length", "chunks"],
)
async def test_a_refused_client_that_sends_on_for_ever(serve, begin):
    options = {"limit_body": 1000, "timeout_linger": 0.2}
    async with asyncio.timeout(20), serve(hello, **options) as serving, serving.client() as client:
        await client.send(begin)
        assert (await client.response())[0] == 413
        with pytest.raises(ConnectionError):
            while True:
                await client.send(bytes(10_000))
                await asyncio.sleep(0)
        assert serving.server.connections == 0


# ---- the request's deadline --------------------------------------------------------------------


class Waiting:
    """Answers a part, and then waits for ever."""

    def __init__(self, *messages):
        self.messages = messages
        self.ended = asyncio.get_running_loop().create_future()

    async def __call__(self, scope, receive, send):
        try:
            for message in self.messages:
                await send(message)
            while True:
                await receive()
                await asyncio.sleep(0)
        except BaseException as error:
            self.ended.set_result(error)
            raise


@pytest.mark.parametrize("framed", [[], [(b"content-length", b"10")]])
async def test_the_deadline_of_a_response_that_has_begun(serve, framed):
    """It has no end that the client could take for one."""
    app = Waiting(
        {"type": "http.response.start", "status": 200, "headers": framed},
        {"type": "http.response.body", "body": b"abc", "more_body": True},
    )
    async with asyncio.timeout(PATIENCE), serve(app, timeout_request=0.2) as serving:
        async with serving.client() as client:
            await client.send(GET)
            await client.reader.readuntil(b"abc")
            with contextlib.suppress(ConnectionResetError):
                assert await client.ended() in (b"", b"\r\n")
        error = await app.ended
        assert isinstance(error, asyncio.CancelledError) and "deadline" in str(error)


async def test_the_deadline_of_a_response_of_which_nothing_has_left(serve):
    app = Waiting({"type": "http.response.start", "status": 200, "headers": []})
    async with asyncio.timeout(PATIENCE), serve(app, timeout_request=0.2) as serving:
        async with serving.client() as client:
            await client.send(GET)
            assert (await client.response())[0] == 504
            assert await client.ended() == b""
        assert isinstance(await app.ended, asyncio.CancelledError)


@pytest.mark.parametrize("begin", [LONG + b"abc", CHUNKED + b"3\r\nabc\r\n"])
async def test_the_deadline_of_a_request_whose_body_is_half_there(serve, begin):
    app = Waiting()
    async with asyncio.timeout(PATIENCE), serve(app, timeout_request=0.2) as serving:
        async with serving.client() as client:
            await client.send(begin)
            assert (await client.response())[0] == 504
            assert await client.ended() == b""
        assert isinstance(await app.ended, asyncio.CancelledError)


# ---- who takes too little -----------------------------------------------------------------------


async def test_a_client_that_takes_nothing(bounded):
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

    async with bounded(app, timeout_write=0.3) as client:
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

    async with asyncio.timeout(PATIENCE), serve(app, timeout_write=0.3, **options) as serving:
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
