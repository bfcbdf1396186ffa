"""The server as a whole: its options, the command, lifespan, TLS, sockets and files."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import penstock
import pytest
import trustme
from penstock import _core
from penstock._serve.config import Config, from_environment, from_file
from penstock._serve.options import OPTIONS
from penstock._serve.server import location

from .conftest import hello

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
            print("lifespan", flush=True)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world"})

def make():
    return app

async def fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def command(directory, *words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "penstock", "serve", *words],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(process):
    """The port, from what it logs."""
    for line in process.stderr:
        if match := re.search(r"serves on \w+://[^ ]*:(\d+)", line):
            return int(match[1])
    raise AssertionError(f"it did not start: status {process.wait(10)}")


# ---- options -----------------------------------------------------------------------------------


def test_each_option_has_a_default_that_can_be_given():
    options = vars(Config())
    assert options.keys() == {option.name for option in OPTIONS}
    given = {name: value for name, value in options.items() if value is not None}
    assert vars(Config(**given)) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prot": 1}, "there is no option 'prot'; did you mean 'port'?"),
        ({"port": "http"}, "port: 'http' must be: TCP port"),
        ({"port": 70000}, "must be from 0 to 65535"),
        ({"timeout_head": -1}, "must be a number of seconds from 0 on"),
        ({"limit_body": "5x"}, "limit_body: '5x' must be"),
        ({"lifespan": "maybe"}, "must be one of auto, on, off"),
        ({"header": "none"}, "must be of the form 'Name: value'"),
        ({"header": ": b"}, "must be of the form 'Name: value'"),
        ({"header": "A: a\r\nB: b"}, r"header: 'A: a\r\nB: b' must have no control characters"),
        ({"header": "A: \0"}, "must have no control characters"),
        ({"header": "A b: c"}, "must have a name of letters, digits and"),
        ({"header": "A\nB: c"}, "must have a name of letters, digits and"),
        ({"header": "A: \u20ac"}, "must be of ISO 8859-1's characters"),
        ({"header": "Content-Length: 5"}, "must not be one by which"),
        ({"headers": [("A", "b"), ("A", "b\r\nC: d")]}, "must have no control characters"),
        ({"headers": [(b"A:", b"b")]}, "headers: (b'A:', b'b') must have a name of"),
        ({"headers": [("Transfer-Encoding", "chunked")]}, "must not be one by which"),
        ({"headers": [("A", "b", "c")]}, "must be a name and a value"),
        ({"headers": [("A", 1)]}, "must be a name and a value"),
        ({"ssl_keyfile": "key.pem"}, "give ssl_certfile too"),
        ({"ssl_certfile": "a.pem", "ssl_cert_reqs": "required"}, "in ssl_ca_certs what they are"),
        ({"ssl_ca_certs": "a.pem", "ssl_cert_reqs": "optional"}, "give ssl_certfile, and"),
        ({"uds": "a", "fd": 3}, "exclude each other"),
        ({"port": object()}, "is no value for it"),
    ],
)
def test_options_that_are_wrong(options, message):
    with pytest.raises(penstock.ServerError, match=re.escape(message)):
        Config(**options)


@pytest.mark.parametrize(
    ("text", "bytes_"), [("0", 0), ("17", 17), ("4k", 4096), ("1MiB", 1 << 20), ("2g", 2 << 30)]
)
def test_sizes(text, bytes_):
    assert Config(limit_body=text).limit_body == bytes_


def test_headers_as_they_may_be():
    given = ["A-1: ", "B:\tc: \xe9\t", ("D", b"e\tf"), [b"g", "h"]]
    expected = (b"a-1", b""), (b"b", b"c: \xe9"), (b"D", b"e\tf"), (b"g", b"h")
    assert Config(header=given).header == expected


async def test_no_header_can_be_made_of_anothers_value():
    loop = asyncio.get_running_loop()
    options = {**penstock.Server(hello)._options(None), "headers": [(b"a", b"b\r\nc: d")]}
    with pytest.raises(ValueError, match="invalid value of the header b'a'"):
        _core.HttpServer(loop, hello, options)


@pytest.mark.parametrize("of_application", [[], [(b"server", b"mine"), (b"Date", b"then")]])
async def test_the_operators_server_and_date(serve, of_application):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": of_application})
        await send({"type": "http.response.body", "body": b""})

    header = ["Server: other", "Date: today"]
    async with serve(app, header=header) as serving:
        _, fields, _ = await serving.get()  # which has none twice
    assert (fields["server"], fields["date"]) == ("other", "today")


def test_options_of_a_file(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text('[serve]\nport = 1234\ntimeout-head = 2.5\nheader = ["A: b", "C: d"]\n')
    assert from_file(str(path)) == {
        "port": 1234,
        "timeout_head": 2.5,
        "header": ((b"a", b"b"), (b"c", b"d")),
    }
    path.write_text("prot = 1")
    with pytest.raises(penstock.ServerError, match=r"'prot' \(in .*serve.toml\)"):
        from_file(str(path))
    with pytest.raises(penstock.ServerError, match="can't read"):
        from_file(str(tmp_path / "none"))


def test_options_of_the_environment():
    environment = {"PENSTOCK_PORT": "1", "PENSTOCK_FACTORY": "yes", "PENSTOCK_HEADER": "A: b\nC: d"}
    assert from_environment(environment) == {
        "port": 1,
        "factory": True,
        "header": ((b"a", b"b"), (b"c", b"d")),
    }


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command(directory, number):
    process = command(directory, "app:app", "--port", "0")
    port = started(process)
    with urlopen(f"http://127.0.0.1:{port}/a?b", timeout=10) as response:
        assert response.read() == b"Hello, world"
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == (-signal.SIGTERM if number == signal.SIGTERM else 130)
    assert out.count("lifespan") == 2
    assert '"GET /a?b HTTP/1.1" 200 OK' in out
    assert "Traceback" not in err


def test_the_command_line_before_the_environment_before_the_file(directory):
    (directory / "serve.toml").write_text('port = 0\nserver_header = false\nroot_path = "/x"\n')
    process = command(
        directory,
        "--config=serve.toml",
        "--server-header",
        PENSTOCK_APP="app:make",
        PENSTOCK_FACTORY="1",
        PENSTOCK_SERVER_HEADER="0",
    )
    port = started(process)
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        assert response.headers["server"] == "penstock"
    process.terminate()
    process.communicate(timeout=10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no application is named"),
        (["app"], "names no application"),
        (["nothing:app"], "there is no module 'nothing' in "),
        (["app:nothing"], "module 'app' has no 'nothing'"),
        (["app:app", "--port", "x"], "--port: 'x' must be: TCP port"),
        (["app:app", "--header", "A: a\nB: b"], r"--header: 'A: a\nB: b' must have no control"),
        (["app:app", "--ssl-certfile", "none.pem"], "TLS can't be set up from none.pem"),
        (["app:app", "--host", "192.0.2.1"], "can't listen on 192.0.2.1 port 8000"),
        (["app:app", "--fd", "77"], "fd 77 is no socket"),
        (["app:fails", "--port", "0"], "the application failed to start. no database"),
        (["app:app", "--log-config", "none.ini"], "log_config: none.ini can't be used"),
        (["app:app", "--log-config", "app.py"], "log_config: app.py can't be used"),
        (["app:app", "--env-file", "none"], "can't read none"),
    ],
)
def test_what_can_not_be_served(directory, words, message):
    out, err = (process := command(directory, *words)).communicate(timeout=20)
    assert process.returncode == 2
    assert message in err
    assert err.startswith("penstock serve: ")
    assert "Traceback" not in err + out


def test_a_port_that_is_taken(directory):
    first = command(directory, "app:app", "--port", "0")
    port = started(first)
    second = command(directory, "app:app", "--port", str(port))
    _, err = second.communicate(timeout=20)
    assert (second.returncode, f"port {port}: Address already in use" in err) == (2, True)
    first.terminate()
    first.communicate(timeout=10)


def test_what_the_application_fails_to_import_is_its_own(directory):
    (directory / "broken.py").write_text("import missing_package\n")
    _, err = (process := command(directory, "broken:app")).communicate(timeout=20)
    assert process.returncode == 1
    assert "No module named 'missing_package'" in err


# ---- sockets -----------------------------------------------------------------------------------


async def test_a_unix_socket(serve, tmp_path):
    path = str(tmp_path / "s")
    for _ in range(2):  # the second finds what the first has left
        server = penstock.Server(hello, uds=path, lifespan="off")
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(server.serve(started=ready))
        await ready
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"Hello, world")
        writer.close()
        await writer.wait_closed()
        server.stop()
        await task


async def test_over_tls(tmp_path):
    made = trustme.CA()
    certificate = made.issue_cert("localhost")
    path = tmp_path / "chain.pem"
    path.write_bytes(
        certificate.private_key_pem.bytes()
        + b"".join(part.bytes() for part in certificate.cert_chain_pems)
    )
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1 << 20)})

    server = penstock.Server(app, host="127.0.0.1", port=0, lifespan="off", ssl_certfile=str(path))
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(server.serve(started=ready))
    await ready
    context = ssl.create_default_context()
    made.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection(
        *server.addresses[0], ssl=context, server_hostname="localhost"
    )
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(1 << 20) == bytes(1 << 20)
    tls = scopes[0]["extensions"]["tls"]
    assert scopes[0]["scheme"] == "https"
    assert tls["tls_version"] == 0x0304
    assert "BEGIN CERTIFICATE" in tls["server_cert"]
    assert tls["cipher_suite"] >> 8 == 0x13
    assert tls["client_cert_chain"] == []
    writer.close()
    await writer.wait_closed()
    server.stop()
    await task


async def test_ipv6(serve):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await hello(scope, receive, send)

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6")
    async with serve(app, host="::1") as serving:
        reader, writer = await asyncio.open_connection("::1", serving.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"Hello, world")
        local = writer.get_extra_info("sockname")[:2]
        writer.close()
        await writer.wait_closed()
        [listening] = serving.server.sockets
        assert location(listening, serving.server.config) == f"http://[::1]:{serving.port}"
    assert (scopes[0]["server"], scopes[0]["client"]) == (("::1", serving.port), local)


async def test_a_server_that_has_served_its_requests_ends(serve, caplog):
    caplog.set_level("INFO", "penstock.server")
    async with serve(hello, limit_max_requests=2, timeout_drain=0) as serving:
        async with asyncio.timeout(20), serving.client() as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.response())[0] == 200
            assert await client.ended() == b""
            with pytest.raises(ConnectionRefusedError):
                await serving.get()
    assert "2 requests have been served: the server ends" in caplog.text


async def test_a_port_for_metrics_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = penstock.Server(hello, port=0, lifespan="off", metrics_port=port)
        with pytest.raises(penstock.ServerError, match=f"can't listen on 127.0.0.1 port {port}"):
            await server.serve()


# ---- lifespan ----------------------------------------------------------------------------------


async def test_the_lifespans_state(serve):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = ["shared"]
            await send({"type": (await receive())["type"] + ".complete"})
            await send({"type": (await receive())["type"] + ".complete"})
            return
        scope["state"]["pool"].append("seen")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr(scope["state"]).encode()})

    async with serve(app, lifespan="on") as serving:
        assert (await serving.get())[2] == b"{'pool': ['shared', 'seen']}"


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_an_application_without_lifespan(serve, mode):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await hello(scope, receive, send)

    if mode == "auto":
        async with serve(app, lifespan=mode) as serving:
            assert (await serving.get())[0] == 200
    else:
        with pytest.raises(penstock.ServerError, match="failed to start"):
            async with serve(app, lifespan=mode):
                pass


async def test_another_loop():
    with pytest.raises(penstock.ServerError, match="needs penstock's loop"):
        await asyncio.to_thread(asyncio.run, penstock.Server(hello).serve())


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 300_000])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_pathsend(serve, tmp_path, size, method):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))

    async def app(scope, receive, send):
        assert "http.response.pathsend" in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with serve(app) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            _, fields, content = await client.response(head=method == b"HEAD")
            assert fields["content-length"] == str(size)
            assert method == b"HEAD" or content == path.read_bytes()


async def test_zerocopysend(serve, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with path.open("rb") as file:
            part = {"type": "http.response.zerocopysend", "file": file}
            await send({**part, "offset": 2, "count": 3, "more_body": True})
            await send({"type": "http.response.body", "body": b"-", "more_body": True})
            await send({**part, "file": file.fileno(), "offset": 8})

    async with serve(app) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response())[2] == b"234-89"


def descriptors_of(path):
    found = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [each for each in found if os.path.realpath(each) == os.path.realpath(path)]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("kind", ["path", "descriptor"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_a_file_that_the_server_opens_is_closed_by_it(
    serve, tmp_path, recwarn, kind, method, leaves
):
    """Once it is sent, or the client has gone: garbage has no ResourceWarning to give."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    ended = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            with path.open("rb") as file:
                await send(
                    {"type": "http.response.pathsend", "path": str(path)}
                    if kind == "path"
                    else {"type": "http.response.zerocopysend", "file": file.fileno()}
                )
        finally:
            ended.set()

    async with asyncio.timeout(20), serve(app) as serving:
        async with serving.client() as client:
            await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            if leaves:
                await client.reader.readexactly(10)
                client.writer.transport.abort()
            else:
                await client.response(head=method == b"HEAD")
        await ended.wait()
    gc.collect()
    assert not descriptors_of(path)
    assert not [each for each in recwarn if each.category is ResourceWarning]


async def test_a_tls_client_that_ends_amid_a_file(serve, secured, tmp_path):
    """The file breaks off, and whoever takes the protocol's place meanwhile is not at fault."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    options, context = secured

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with asyncio.timeout(10), serve(app, **options) as serving:
        async with serving.client(tls=context) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.05)  # all buffers are full
            client.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert len(await client.ended()) < path.stat().st_size
    assert told == []


async def test_the_descriptor_of_a_folder(serve, tmp_path, caplog):
    """It is refused, and no copy of it is left."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            await send({"type": "http.response.zerocopysend", "file": folder})
        finally:
            os.close(folder)

    async with serve(app) as serving:
        assert (await serving.get())[0] == 500
    assert "no regular file" in caplog.text
    assert not descriptors_of(tmp_path)


@pytest.mark.parametrize("path", ["/nowhere", "/dev/null", str(Path("/"))])
async def test_a_file_that_can_not_be_sent(serve, caplog, path):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": path})

    async with serve(app) as serving:
        assert (await serving.get())[0] == 500
    assert caplog.records
