"""Clients that mean harm, and applications that do what none should: the server goes on."""

import asyncio
import os
import socket
import ssl
from types import SimpleNamespace

import pytest
import trustme

from .conftest import hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def start(*headers):
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(content=b"", more=False):
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    authority = trustme.CA()
    context = ssl.create_default_context()
    context.check_hostname = False
    authority.configure_trust(context)
    path = tmp_path_factory.mktemp("tls") / "chain.pem"
    path.write_bytes(authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
    return SimpleNamespace(path=str(path), context=context)


# ---- the connection ends while the application runs --------------------------------------------


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_connection_is_aborted_as_its_application_is_woken(serve, caplog, goes_on):
    """With a head that waits for its body."""
    heard = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        await send(start())
        message = await receive()
        if not goes_on:
            raise ValueError("as it is asked to")
        try:
            await send(body(b"x"))
        except OSError as error:
            heard.set_result((error, message))

    async with serve(app) as serving, serving.client() as client:
        await client.send(CHUNKED)
        while not serving.server.running:
            await asyncio.sleep(0)
        await client.send(b"3\r\nabcX")
        if goes_on:
            error, message = await heard
            assert isinstance(error, ConnectionResetError)
            assert message == {"type": "http.disconnect"}
        while serving.server.running:
            await asyncio.sleep(0.01)
    assert ("as it is asked to" in caplog.text) != goes_on


# ---- send() within send() ----------------------------------------------------------------------


def run_now(coroutine):
    try:
        coroutine.send(None)
    except StopIteration:
        pass


class Meddler:
    """What an application may put into a message, that sends or receives as it is looked at."""

    def __init__(self, meddle):
        self.meddle = meddle

    def __iter__(self):
        self.meddle()
        return iter([(b"a", b"b")])

    def __bool__(self):
        self.meddle()
        return False

    def __fspath__(self):
        self.meddle()
        return __file__

    def __repr__(self):
        self.meddle()
        return "a meddler"

    def __hash__(self):
        return 1


MEDDLED = {
    "headers": lambda it: [start() | {"headers": it}, body()],
    "a header": lambda it: [start((b"c", b"d"), it), body()],
    "trailers": lambda it: [start() | {"trailers": it}, body()],
    "more_body": lambda it: [start(), body() | {"more_body": it}],
    "the trailers' fields": lambda it: [
        start() | {"trailers": True},
        body(b"x"),
        {"type": "http.response.trailers", "headers": it},
    ],
    "a path": lambda it: [start(), {"type": "http.response.pathsend", "path": it}],
    "a type": lambda it: [start(), {"type": it}],
    "a link": lambda it: [
        {"type": "http.response.early_hint", "links": [b"a", it]},
        start(),
        body(),
    ],
}


@pytest.mark.parametrize("what", MEDDLED)
@pytest.mark.parametrize("how", ["send", "receive", "abort"])
async def test_a_message_that_does_things_while_it_is_read(serve, what, how):
    async def app(scope, receive, send):
        if scope["path"] == "/hello":
            return await hello(scope, receive, send)

        def meddle():
            if how == "receive":
                run_now(receive())
            elif how == "abort":
                serving.server._native.abort()
            else:
                for message in [start(), body(bytes(40_000), True), body()]:
                    try:
                        run_now(send(message))
                    except (RuntimeError, OSError):
                        pass

        for message in MEDDLED[what](Meddler(meddle)):
            await send(message)

    async with serve(app, log_level="critical", timeout_graceful_shutdown=0.1) as serving:
        async with serving.client() as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            )
            try:
                await asyncio.wait_for(client.reader.readline(), 5)
            except ConnectionResetError:
                pass
        answer = await serving.get(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer[2] == b"Hello, world"


# ---- one answer a request ----------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"abcX", b""])
async def test_a_request_that_goes_wrong_behind_its_answer_gets_no_second_one(serve, rest):
    """A proxy would take it for the answer to the next request of somebody else."""
    async with serve(hello, timeout_body=0.2) as serving, serving.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n")
        assert (await client.response())[0] == 200
        await client.send(rest)
        assert await client.ended() == b""


async def test_lengths_that_differ_are_not_sent(serve, caplog):
    async def app(scope, receive, send):
        await send(start((b"content-length", b"1"), (b"Content-Length", b"2")))
        await send(body(b"x"))

    async with serve(app) as serving:
        status, _, _ = await serving.get()
        assert status == 500
    assert "Content-Length" in caplog.text


async def test_a_length_that_is_said_twice_is_sent_once(serve):
    async def app(scope, receive, send):
        await send(start((b"content-length", b"1"), (b"content-length", b"1")))
        await send(body(b"x"))

    async with serve(app) as serving:
        assert (await serving.get())[1]["content-length"] == "1"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_file_that_shrinks_while_it_is_sent(serve, tmp_path, tls, certificate):
    """Its length has been announced: nothing may follow in its place."""
    path = tmp_path / "file"
    size = 64 << 20
    with path.open("wb") as file:
        file.truncate(size)

    async def app(scope, receive, send):
        await send(start())
        sending = asyncio.ensure_future(send({"type": "http.response.pathsend", "path": str(path)}))
        await asyncio.sleep(0)
        os.truncate(path, 1000)
        await sending

    options = {"ssl_certfile": certificate.path} if tls else {}
    async with serve(app, log_level="critical", **options) as serving:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", serving.port, ssl=certificate.context if tls else None
        )
        writer.write(GET + GET)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: %d" % size in head
        got = 0
        try:
            while piece := await reader.read(1 << 20):
                got += len(piece)
                assert b"HTTP/1.1" not in piece
        except ConnectionResetError:
            pass
        assert got < size
        writer.transport.abort()


# ---- pipelines ---------------------------------------------------------------------------------


async def test_a_pipeline_that_is_answered_at_once_is_not_taken_without_end(serve):
    """What has been read and is not answered yet stays bounded, also where nobody waits."""
    count = 100_000
    async with serve(hello, access_log=False) as serving, serving.client() as client:
        waiting = 0

        async def answers():
            nonlocal waiting
            while (serving.server.measure())["requests"] < count:
                counts = serving.server.measure()
                waiting = max(waiting, counts["received_bytes"] - counts["requests"] * len(GET))
                await client.reader.read(1 << 20)

        client.writer.write(GET * count)
        await answers()
        assert waiting < 512 << 10


async def test_a_head_may_be_longer_than_a_pipeline(serve):
    async with serve(hello, limit_pipelined=100, timeout_head=5) as serving:
        async with serving.client() as client:
            for _ in range(3):
                await client.send(GET[:-2] + b"x: " + b"y" * 1000)
                await asyncio.sleep(0)
                await client.send(b"y" * 1000)
                await asyncio.sleep(0)
                await client.send(b"\r\n\r\n")
                assert (await client.response())[0] == 200


# ---- who is too slow ---------------------------------------------------------------------------


async def read_body(scope, receive, send):
    size = 0
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send(start())
    await send(body(b"%d" % size))


async def test_a_client_that_waits_for_100_continue_is_not_late(serve):
    async def app(scope, receive, send):
        await asyncio.sleep(1.2)  # twice the deadline, and two looks at it
        await read_body(scope, receive, send)

    options = {"timeout_body": 0.3, "timeout_body_grace": 0.2, "body_rate": 1000}
    async with serve(app, **options) as serving, serving.client() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.response())[0] == 100
        await client.send(b"abc")
        assert (await client.response())[2] == b"3"


async def test_an_application_that_is_slow_is_not_the_clients_fault(serve):
    """A body that has to wait with the client, and then comes at once."""
    size = 300_000

    async def app(scope, receive, send):
        await receive()
        await asyncio.sleep(1.2)
        await read_body(scope, receive, send)

    options = {"timeout_body": 5, "timeout_body_grace": 0.1, "body_rate": 1_000_000}
    async with serve(app, **options) as serving, serving.client() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size, bytes(size)
        )
        assert (await client.response())[0] == 200


def narrow(port, tls=None):
    """A client's socket, connected, of which the kernel takes little unless it is read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return tls.wrap_socket(sock) if tls else sock


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("how", ["one piece", "pieces", "file", "last", "websocket"])
async def test_who_does_not_take_what_it_is_sent(serve, certificate, tmp_path, how, tls):
    """It is left, whether the response is under way, or complete, or a file, or the last one."""
    size = 16 << 20
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(size)

    asked = []

    async def app(scope, receive, send):
        asked.append(scope)
        if how == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return await send({"type": "websocket.send", "bytes": bytes(size)})
        await send(start())
        if how == "file":
            return await send({"type": "http.response.pathsend", "path": str(path)})
        if how != "pieces":
            return await send(body(bytes(size)))
        for _ in range(64):
            await send(body(bytes(size // 64), True))

    lines = {
        "last": b"Connection: close\r\n",
        "websocket": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    }.get(how, b"")

    async def left(takes):
        client = await asyncio.to_thread(narrow, serving.port, context)
        client.setblocking(True)
        with client:
            await asyncio.to_thread(client.sendall, GET[:-2] + lines + b"\r\n")
            while len(asked) < 2:
                await asyncio.sleep(0.01)
            while serving.server.connections:
                if takes:
                    try:
                        await asyncio.to_thread(client.recv, takes)
                    except OSError:
                        break
                await asyncio.sleep(0.05)

    options = {"timeout_write": 0.5, "timeout_keep_alive": 0.2, "timeout_linger": 0.2}
    options |= {"ssl_certfile": certificate.path} if tls else {}
    context = certificate.context if tls else None
    async with serve(app, log_level="critical", body_rate=1000, **options) as serving:
        async with asyncio.timeout(20):
            await asyncio.gather(left(0), left(10))


@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_who_takes_a_response_slowly_gets_it(serve, tmp_path, family):
    """Longer than all deadlines together. Of a Unix socket no kernel tells what has been taken."""
    size = 8 << 20
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(size)

    async def app(scope, receive, send):
        await send(start((b"content-length", b"%d" % size)))
        if scope["path"] == "/file":
            return await send({"type": "http.response.pathsend", "path": str(path)})
        count = 64 if scope["path"] == "/pieces" else 1
        for number in range(count):
            await send(body(bytes(size // count), number < count - 1))

    async def take(target):
        reader, writer = await (
            asyncio.open_unix_connection(options["uds"])
            if family == "unix"
            else asyncio.open_connection("127.0.0.1", serving.port)
        )
        writer.write(GET.replace(b"/", target, 1))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(32):
            await reader.readexactly(size >> 5)
            await asyncio.sleep(0.05)
        writer.close()

    options = {"timeout_write": 0.4, "timeout_keep_alive": 0.2}
    if family == "unix":
        options["uds"] = str(tmp_path / "socket")
    async with asyncio.timeout(10), serve(app, **options) as serving:
        await asyncio.gather(*map(take, (b"/piece", b"/pieces", b"/file")))


@pytest.mark.parametrize("how", ["pieces", "file"])
async def test_who_takes_nothing_through_a_unix_socket(serve, tmp_path, how):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(8 << 20)

    async def app(scope, receive, send):
        await send(start())
        if how == "file":
            return await send({"type": "http.response.pathsend", "path": str(path)})
        for _ in range(64):
            await send(body(bytes(1 << 20), True))

    options = {"timeout_write": 0.3, "uds": str(tmp_path / "socket"), "log_level": "critical"}
    async with asyncio.timeout(4), serve(app, **options) as serving:
        _, writer = await asyncio.open_unix_connection(options["uds"])
        writer.transport.pause_reading()
        writer.write(GET)
        while not serving.server.connections:
            await asyncio.sleep(0.01)
        while serving.server.connections:
            await asyncio.sleep(0.01)
        writer.transport.abort()
