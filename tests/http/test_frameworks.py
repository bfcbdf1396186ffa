"""Frameworks as they are, asked by other people's clients."""

import asyncio
import contextlib
import gzip
import json
import logging
import select
import signal
import socket
import threading
import time

import pytest

from .programs import curl
from .served import read_all, served, served_by_command

httpx = pytest.importorskip("httpx")

BIG = b"x" * 1_000_000


def check(server, client, reads_chunks=True):
    """What each of the applications below answers."""
    stream = b"".join(lines())
    answer = client.get("/items/caf\u00e9?a=1&a=2")
    assert answer.status_code == 200
    assert answer.json() == {"name": "caf\u00e9", "a": ["1", "2"]}
    assert client.post("/echo", content=BIG).content == BIG
    chunks = client.post("/echo", content=(BIG[:1000] for _ in range(3))).content
    assert chunks == (BIG[:3000] if reads_chunks else b"")
    assert client.get("/stream").content == stream
    assert client.get("/nowhere").status_code == 404
    assert client.get("/fail").status_code == 500
    assert client.head("/items/x").content == b""
    assert curl(f"{server.url}/stream") == stream
    assert curl(f"{server.url}/echo", "--data-binary", "@-", "-H", "Expect: 100-continue") == b""
    assert json.loads(curl(f"{server.url}/items/x", "--http1.0"))["name"] == "x"


def checked(app, **options):
    with served(app, **options) as server, httpx.Client(base_url=server.url) as client:
        check(server, client)
        asyncio.run(check_by_aiohttp(server.url))


async def check_by_aiohttp(url):
    aiohttp = pytest.importorskip("aiohttp")
    async with aiohttp.ClientSession(url) as session:

        async def ask(number):
            async with session.get(f"/items/{number}") as response:
                assert (await response.json())["name"] == str(number)

        await asyncio.gather(*(ask(number) for number in range(50)))
        async with session.post("/echo", data=BIG) as response:
            assert await response.read() == BIG


def lines():
    for number in range(1000):
        yield b"%d\n" % number


def starlette_app():
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def item(request):
        name = request.path_params["name"]
        return JSONResponse({"name": name, "a": request.query_params.getlist("a")})

    async def echo(request):
        return Response(b"".join([piece async for piece in request.stream()]))

    async def stream(request):
        async def pieces():
            for line in lines():
                yield line

        return StreamingResponse(pieces())

    async def fail(request):
        raise KeyError("fail")

    done = threading.Event()

    async def background(request):
        return PlainTextResponse("first", background=BackgroundTask(done.set))

    class Marking(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-marked"] = "yes"
            return response

    app = Starlette(
        routes=[
            Route("/items/{name}", item),
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/fail", fail),
            Route("/background", background),
        ],
        middleware=[Middleware(Marking)],
    )
    app.state.done = done
    return app


def test_starlette():
    checked(starlette_app())


def test_starlettes_background_tasks_and_middleware():
    app = starlette_app()
    with served(app) as server:
        answer = httpx.get(f"{server.url}/background")
        assert answer.text == "first"
        assert answer.headers["x-marked"] == "yes"
        assert app.state.done.wait(20)


def test_starlettes_files(tmp_path):
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import FileResponse
    from starlette.routing import Route

    (tmp_path / "file.bin").write_bytes(BIG)

    async def file(request):
        return FileResponse(tmp_path / "file.bin")

    with served(Starlette(routes=[Route("/", file)])) as server:
        assert httpx.get(server.url).content == BIG
        part = httpx.get(server.url, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, BIG[10:20])


def test_a_stream_hears_that_its_client_has_gone_and_nobody_else_does(caplog):
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    ended = threading.Event()

    async def endless(request):
        async def pieces():
            try:
                while True:
                    yield b"more"
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        return StreamingResponse(pieces())

    with served(Starlette(routes=[Route("/", endless)])) as server:
        with server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(1000)
        assert ended.wait(20)
    assert caplog.text == ""


def test_fastapi():
    fastapi = pytest.importorskip("fastapi")
    from contextlib import asynccontextmanager

    seen = []

    @asynccontextmanager
    async def lifespan(app):
        seen.append("start")
        yield {"kept": "state"}
        seen.append("end")

    app = fastapi.FastAPI(lifespan=lifespan)

    async def given(request: fastapi.Request):
        assert request.state.kept == "state"
        yield

    @app.get("/items/{name}", dependencies=[fastapi.Depends(given)])
    @app.head("/items/{name}")
    async def item(name: str, a: list[str] = fastapi.Query(default=[])):  # noqa: B008
        return {"name": name, "a": a}

    @app.post("/echo")
    async def echo(request: fastapi.Request):
        return fastapi.Response(await request.body())

    @app.get("/stream")
    def stream():
        return fastapi.responses.StreamingResponse(lines())

    @app.get("/fail")
    def fail():
        raise KeyError("fail")

    checked(app, lifespan="on")
    assert seen == ["start", "end"]


def test_quart():
    quart = pytest.importorskip("quart")
    app = quart.Quart(__name__)

    @app.route("/items/<name>")
    async def item(name):
        return {"name": name, "a": quart.request.args.getlist("a")}

    @app.post("/echo")
    async def echo():
        return quart.Response(await quart.request.get_data())

    @app.route("/stream")
    async def stream():
        async def pieces():
            for line in lines():
                yield line

        return pieces()

    @app.route("/fail")
    async def fail():
        raise KeyError("fail")

    checked(app)


def test_litestar():
    litestar = pytest.importorskip("litestar")
    from litestar.response import Stream

    @litestar.route("/items/{name:str}", http_method=["GET", "HEAD"])
    async def item(request: litestar.Request, name: str) -> dict:
        return {"name": name, "a": request.query_params.getall("a", [])}

    @litestar.post("/echo", status_code=200, media_type="application/octet-stream")
    async def echo(request: litestar.Request) -> bytes:
        return await request.body()

    @litestar.get("/stream")
    async def stream() -> Stream:
        return Stream(lines())

    @litestar.get("/fail")
    async def fail() -> None:
        raise KeyError("fail")

    checked(litestar.Litestar([item, echo, stream, fail], logging_config=None))


DJANGO = """
import os
from django.conf import settings
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None, LOGGING_CONFIG=None,
)

def item(request, name):
    return JsonResponse({"name": name, "a": request.GET.getlist("a")})

def echo(request):
    return HttpResponse(request.body)

def stream(request):
    return StreamingHttpResponse(b"%d\\n" % number for number in range(1000))

def fail(request):
    raise KeyError("fail")

urlpatterns = [path("items/<name>", item), path("echo", echo), path("stream", stream),
               path("fail", fail)]

import django
django.setup()
if os.environ["SPEAKS"] == "asgi":
    from django.core.asgi import get_asgi_application as get_application
else:
    from django.core.wsgi import get_wsgi_application as get_application
app = get_application()
"""


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_django(interface, tmp_path):
    pytest.importorskip("django")
    (tmp_path / "site_of_django.py").write_text(DJANGO)
    words = ("site_of_django:app", "--no-access-log")
    with served_by_command(*words, directory=tmp_path, SPEAKS=interface) as (_, port):

        class Place:
            url = f"http://127.0.0.1:{port}"

        with httpx.Client(base_url=Place.url) as client:
            # Django's WSGIRequest reads nothing where there is no CONTENT_LENGTH.
            check(Place, client, reads_chunks=interface == "asgi")
        asyncio.run(check_by_aiohttp(Place.url))


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
class TestAiohttp:
    @pytest.fixture
    def web(self):
        pytest.importorskip("aiohttp")
        from aiohttp import web

        return web

    @pytest.fixture
    def app(self, web):
        async def item(request):
            name = request.match_info["name"]
            return web.json_response({"name": name, "a": request.query.getall("a", [])})

        async def echo(request):
            return web.Response(body=await request.read())

        async def stream(request):
            response = web.StreamResponse()
            await response.prepare(request)
            for line in lines():
                await response.write(line)
            return response

        async def fail(request):
            raise KeyError("fail")

        async def who(request):
            return web.Response(text=f"{request.remote} {request.scheme}")

        async def socket(request):
            ws = web.WebSocketResponse()
            await ws.prepare(request)
            request.app["sockets"].append(ws)
            async for message in ws:
                await ws.send_str(message.data.upper())
            return ws

        async def slow(request):
            request.app["entered"].set()
            await asyncio.sleep(request.app["delay"])
            return web.Response(text="slow")

        app = web.Application(client_max_size=10_000_000)
        app["sockets"] = []
        app["entered"] = threading.Event()
        app["delay"] = 0.2
        app["seen"] = []
        app.router.add_get("/items/{name}", item)
        app.router.add_post("/echo", echo)
        app.router.add_get("/stream", stream)
        app.router.add_get("/fail", fail)
        app.router.add_get("/who", who)
        app.router.add_get("/socket", socket)
        app.router.add_get("/slow", slow)

        async def starts(app):
            app["seen"].append("start")
            yield
            app["seen"].append("end")

        async def closes(app):
            app["seen"].append("shutdown")
            for ws in app["sockets"]:
                await ws.close(code=1001)

        app.cleanup_ctx.append(starts)
        app.on_shutdown.append(closes)
        return app

    def test_as_it_is(self, app):
        checked(app)
        assert app["seen"] == ["start", "shutdown", "end"]

    def test_a_request_under_way_is_finished(self, app):
        answers = []
        with served(app) as server:
            ask = threading.Thread(
                target=lambda: answers.append(httpx.get(f"{server.url}/slow").text)
            )
            ask.start()
            assert app["entered"].wait(20)
        ask.join()
        assert answers == ["slow"]

    def test_but_not_for_ever(self, app):
        app["delay"] = 1000
        with served(app, timeout_graceful_shutdown=0.1) as server:
            sock = server.connect()
            sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            assert app["entered"].wait(20)
        assert sock.recv(1000) == b""
        sock.close()
        assert app["seen"][-1] == "end"

    def test_a_websocket_is_closed_by_the_application(self, app):
        aiohttp = pytest.importorskip("aiohttp")

        async def talk(server):
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(f"{server.url}/socket") as ws:
                    await ws.send_str("hello")
                    assert (await ws.receive()).data == "HELLO"
                    server.loop.call_soon_threadsafe(server.server.stop)
                    message = await ws.receive()
                    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)

        with served(app) as server:
            asyncio.run(talk(server))

    def test_proxies_headers(self, app):
        with served(app) as server:
            headers = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4", "X-Forwarded-Proto": "https"}
            assert httpx.get(f"{server.url}/who", headers=headers).text == "1.2.3.4 https"
            assert httpx.get(f"{server.url}/who").text == "127.0.0.1 http"

    def test_headers_of_who_is_no_proxy(self, app):
        headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
        with served(app, forwarded_allow_ips="10.0.0.1") as server:
            assert httpx.get(f"{server.url}/who", headers=headers).text == "127.0.0.1 http"

    def test_the_proxy_protocol(self, app):
        with served(app, proxy_protocol=True) as server:
            answer = server.exchange(
                b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\r\n"
                b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            assert answer.endswith(b"1.2.3.4 http")

    def test_access_log_and_headers(self, app, caplog):
        caplog.set_level(logging.INFO, "penstock.access")
        text = '%(h)s "%(r)s" %(s)s %({x-a}o)s'
        with served(app, access_log_format=text, header="X-A: b", server_header=False) as server:
            answer = httpx.get(f"{server.url}/items/a?b=c")
            assert answer.headers["x-a"] == "b"
            assert "server" not in answer.headers
        messages = [each.getMessage() for each in caplog.records if each.name == "penstock.access"]
        assert messages == ['127.0.0.1 "GET /items/a?b=c HTTP/1.1" 200 b']

    def test_the_operators_server_and_date(self, app):
        with served(app, header=["Server: a", "Date: today"]) as server:
            _, headers, _ = server.get("/items/a")  # which has none twice
        assert (headers["server"], headers["date"]) == ("a", "today")

    def test_no_date(self, app):
        with served(app, date_header=False) as server:
            assert server.get("/items/a")[1]["date"] is None

    def test_who_is_late(self, app):
        """All at once, since each has to wait for it."""
        said = {
            b"": b"",
            b"\r\n": b"",
            b"GET /items/a HTTP/1.1\r\nHo": b"HTTP/1.1 408 ",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na": b"HTTP/1.1 408 ",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;": (
                b"HTTP/1.1 408 "
            ),
            b"GET /items/a HTTP/1.1\r\nHost: a\r\n\r\n": b"HTTP/1.1 200 ",
        }
        times = {"timeout_head": 0.2, "timeout_body": 0.2, "timeout_keep_alive": 0.2}
        with served(app, **times) as server, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(server.connect()) for _ in said]
            for sock, text in zip(socks, said, strict=True):
                sock.settimeout(3)
                sock.sendall(text)
            for sock, answer in zip(socks, said.values(), strict=True):
                got = read_all(sock)
                assert got.startswith(answer) and bool(got) == bool(answer)

    @pytest.mark.parametrize(
        ("begin", "bits"),
        [
            (b"GET /items/a HTTP/1.1\r\nX: ", bytes(5000).replace(b"\0", b"x")),
            (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", bytes(5000)),
            # Each of its bytes stands for a thousand.
            (
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n"
                b"Content-Length: 9999\r\n\r\n",
                gzip.compress(bytes(9 << 20)),
            ),
        ],
        ids=["head", "body", "compressed"],
    )
    def test_what_is_dribbled(self, app, begin, bits):
        options = {"timeout_head": 0.2, "timeout_body_grace": 0.2, "body_rate": 10000}
        with served(app, **options) as server, server.connect() as sock:
            sock.sendall(begin)
            for bit in bits:
                if select.select([sock], [], [], 0.01)[0]:
                    break
                sock.sendall(bytes([bit]))
            else:
                pytest.fail("it goes on for ever")
            assert read_all(sock).startswith(b"HTTP/1.1 408 ")

    @pytest.mark.parametrize("how", ["stream", "piece", "file"])
    @pytest.mark.parametrize("takes", [0, 20_000])
    @pytest.mark.parametrize("where", ["tcp", "unix"])
    def test_a_client_that_takes_too_little(self, app, web, tmp_path, how, takes, where):
        size = 64 << 20
        with (tmp_path / "file").open("wb") as file:
            file.truncate(size)

        async def flood(request):
            if how == "piece":
                return web.Response(body=bytes(size))
            if how == "file":
                return web.FileResponse(tmp_path / "file")
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(bytes(1 << 20))

        app.router.add_get("/flood", flood)
        options = {"uds": str(tmp_path / "socket")} if where == "unix" else {}
        with (
            served(app, timeout_write=0.3, body_rate=10_000_000, **options) as server,
            socket.socket(socket.AF_UNIX if options else socket.AF_INET) as sock,
        ):
            sock.settimeout(5)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(server.address)
            sock.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            end = time.monotonic() + 5
            while server.server.connections or not server.server._native.requests:
                assert time.monotonic() < end, "it is not left"
                if takes:
                    with contextlib.suppress(ConnectionError):
                        sock.recv(takes)
                time.sleep(0.02)

    @pytest.mark.parametrize("how", ["piece", "file"])
    @pytest.mark.parametrize("where", ["tcp", "unix"])
    def test_who_takes_a_large_piece_slowly_gets_it(self, app, web, tmp_path, how, where):
        """Longer than all deadlines together."""
        size = 8 << 20
        with (tmp_path / "file").open("wb") as file:
            file.truncate(size)

        async def large(request):
            if how == "file":
                return web.FileResponse(tmp_path / "file")
            return web.Response(body=bytes(size))

        app.router.add_get("/large", large)
        options = {"timeout_write": 0.4, "timeout_keep_alive": 0.2}
        if where == "unix":
            options["uds"] = str(tmp_path / "socket")
        with served(app, **options) as server, server.connect() as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            begun, taken = time.monotonic(), 0
            while taken < size:
                time.sleep(max(0, begun + 1.5 * taken / size - time.monotonic()))
                piece = sock.recv(1 << 18)
                assert piece, "it is cut off"
                taken += len(piece)

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"GET /items/a HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 4, 200),
            (b"GET /items/a HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5, 400),
            (b"GET /items/" + b"a" * 93 + b" HTTP/1.1\r\nHost: a\r\n", 200),
            (b"GET /items/" + b"a" * 94 + b" HTTP/1.1\r\nHost: a\r\n", 400),
            (b"\r\nGET /items/a HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 461 + b"\r\n", 200),
            (b"GET /items/a HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 462 + b"\r\n", 431),
            (b"GET /items/a HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 200 + b"\r\n") * 3, 431),
        ],
    )
    @pytest.mark.parametrize("way", ["whole", "in pieces", "behind another", "pipelined"])
    def test_limits_of_a_head(self, app, head, status, way):
        app["delay"] = 0.1
        pieces = [head + b"\r\n"]
        if way == "in pieces":
            pieces = [head[at : at + 7] for at in range(0, len(head), 7)] + [b"\r", b"\n"]
        options = {"limit_head": 500, "limit_fields": 5, "limit_target": 100}
        with served(app, **options) as server, server.connect() as sock:
            sock.settimeout(3)

            def read_until(end):
                got = b""
                while not got.endswith(end):
                    piece = sock.recv(1)
                    assert piece, got
                    got += piece
                return got

            if way in ("behind another", "pipelined"):
                sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                assert app["entered"].wait(3)
            if way == "behind another":
                read_until(b"slow")
            for piece in pieces:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(piece)
            if way == "pipelined":
                read_until(b"slow")
            assert read_until(b"\r\n").split(b" ")[1] == b"%d" % status

    def test_idle_connections_end_with_the_server(self, app):
        with contextlib.ExitStack() as stack:
            with served(app, timeout_drain=0.1) as server:
                silent, idle = (stack.enter_context(server.connect()) for _ in range(2))
                idle.sendall(b"GET /items/a HTTP/1.1\r\nHost: a\r\n\r\n")
                assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
                begun = time.monotonic()
            assert time.monotonic() - begun < 10  # of timeout_graceful_shutdown's 20
            assert read_all(silent) == read_all(idle) == b""

    def test_a_body_that_comes_while_the_server_ends(self, app):
        with served(app) as server, server.connect() as sock:
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbe")
            while not server.server._native.requests:
                time.sleep(0.01)
            server.loop.call_soon_threadsafe(server.server.stop)
            while not server.server._native.is_draining:
                time.sleep(0.01)
            sock.sendall(b"gin")
            assert read_all(sock).endswith(b"begin")

    def test_surplus_connections(self, app):
        with served(app, limit_concurrency=1) as server, server.connect() as first:
            first.sendall(b"GET /items/a HTTP/1.1\r\nHost: a\r\n\r\n")
            assert first.recv(1000).startswith(b"HTTP/1.1 200")
            request = b"GET /items/a HTTP/1.1\r\nHost: a\r\n\r\n"
            assert server.exchange(request).startswith(b"HTTP/1.1 503 ")

    def test_on_the_command_line(self, tmp_path):
        pytest.importorskip("aiohttp")
        (tmp_path / "an_aiohttp_app.py").write_text(
            "from aiohttp import web\n"
            "async def hello(request):\n    return web.Response(text='hello')\n"
            "app = web.Application()\napp.router.add_get('/', hello)\n"
        )
        with served_by_command("an_aiohttp_app:app", directory=tmp_path) as (process, port):
            assert curl(f"http://127.0.0.1:{port}/") == b"hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == -signal.SIGTERM
