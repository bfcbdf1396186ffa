"""WSGI applications: PEP 3333, seen from both ends."""

import contextlib
import contextvars
import errno
import io
import logging
import os
import socket
import struct
import sys
import threading
import time
from wsgiref.validate import validator

import pytest

from .served import read_all, served


def answering(body=b"Hello", status="200 OK", headers=()):
    def app(environ, start_response):
        start_response(status, list(headers))
        return [body]

    return app


def environ_for(request, **options):
    """What the application gets of a request, in bytes."""
    found = []

    def app(environ, start_response):
        found.append(environ)
        environ["body"] = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return []

    with served(app, **options) as server:
        assert server.exchange(request).startswith(b"HTTP/1.1 200 OK\r\n")
        (environ,) = found
        if options.get("uds") is None:
            assert environ["SERVER_PORT"] == str(server.port)
    return environ


def get(target="/", *lines):
    head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", "Host: a", *lines))
    return f"{head}Connection: close\r\n\r\n".encode("latin-1")


class TestEnvironment:
    def test_of_a_get(self):
        environ = environ_for(get("/a/b?x=%31&y", "User-Agent: test", "Content-Type: text/plain"))
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["SCRIPT_NAME"] == ""
        assert environ["PATH_INFO"] == "/a/b"
        assert environ["QUERY_STRING"] == "x=%31&y"
        assert environ["REQUEST_URI"] == "/a/b?x=%31&y"
        assert environ["SERVER_NAME"] == "127.0.0.1"
        assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["HTTP_HOST"] == "a"
        assert environ["HTTP_USER_AGENT"] == "test"
        assert environ["CONTENT_TYPE"] == "text/plain"
        assert "HTTP_CONTENT_TYPE" not in environ
        assert "CONTENT_LENGTH" not in environ
        assert environ["wsgi.version"] == (1, 0)
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["wsgi.multithread"] is True
        assert environ["wsgi.multiprocess"] is False
        assert environ["wsgi.errors"] is sys.stderr

    def test_bytes_are_carried_as_latin_1(self):
        path = environ_for(get("/caf%C3%A9/%FF"))["PATH_INFO"]
        assert path.encode("latin-1") == b"/caf\xc3\xa9/\xff"

    def test_root_path(self):
        environ = environ_for(get("/a"), root_path="/caf\u00e9")
        assert environ["SCRIPT_NAME"].encode("latin-1") == "/caf\u00e9".encode()
        assert environ["PATH_INFO"] == "/a"

    def test_of_the_server_as_a_whole(self):
        environ = environ_for(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert environ["PATH_INFO"] == "/"
        assert environ["REQUEST_URI"] == "*"

    def test_a_unix_socket(self, tmp_path):
        environ = environ_for(get(), uds=str(tmp_path / "s"))
        assert environ["REMOTE_ADDR"] == ""
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")

    def test_fields_of_one_name_are_joined(self):
        environ = environ_for(get("/", "X-A: 1", "Cookie: a=1", "x-a: 2", "Cookie: b=2"))
        assert environ["HTTP_X_A"] == "1,2"
        assert environ["HTTP_COOKIE"] == "a=1; b=2"

    def test_nobody_passes_for_another(self):
        environ = environ_for(
            get("/", "X_Forwarded_For: 6.6.6.6", "X-Real_IP: 6.6.6.6", "Proxy: http://evil/")
        )
        assert "HTTP_X_FORWARDED_FOR" not in environ
        assert "HTTP_X_REAL_IP" not in environ
        assert "HTTP_PROXY" not in environ


class TestBody:
    @pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
    @pytest.mark.parametrize("threads", [1, 10])
    def test_with_a_length(self, size, threads):
        content = bytes(range(256)) * (size // 256 + 1)
        content = content[:size]
        head = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        environ = environ_for(head.encode() + content, wsgi_threads=threads)
        assert environ["body"] == content
        assert environ["CONTENT_LENGTH"] == str(size)

    def test_in_chunks(self):
        environ = environ_for(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        )
        assert environ["body"] == b"abcdefg"
        assert environ["wsgi.input_terminated"] is True

    def test_is_read_as_it_comes(self):
        lines = []
        came = threading.Semaphore(0)

        def app(environ, start_response):
            for line in environ["wsgi.input"]:
                lines.append(line)
                came.release()
            start_response("200 OK", [])
            return [b"end"]

        with served(app) as server, server.connect() as sock:
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for line in (b"one\n", b"two\n", b"three"):
                sock.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                if line.endswith(b"\n"):
                    assert came.acquire(timeout=20)
                    assert lines[-1] == line
            sock.sendall(b"0\r\n\r\n")
            assert read_all(sock).endswith(b"\r\n\r\nend")
            assert lines[-1] == b"three"

    @pytest.mark.parametrize(
        "read",
        [
            lambda file: [file.read(2), file.read(0), file.read(100), file.read(1), file.read()],
            lambda file: [file.readline(), file.readline(2), file.readline(100), file.readline(-1)],
            lambda file: [file.readline(0), file.readlines(5), file.readlines(), file.readline()],
            lambda file: [file.read(None), file.readline(None), file.readlines(None)],
            lambda file: [next(file), list(file)],
            lambda file: [file.readlines(1), file.readlines(0)],
        ],
    )
    def test_reads_as_any_other_file(self, read):
        content = b"first\n\nthird line\nlast"
        found = []

        def app(environ, start_response):
            found.append(read(environ["wsgi.input"]))
            start_response("200 OK", [])
            return []

        with served(app) as server:
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
            server.exchange(
                b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            )
        assert found == [read(io.BytesIO(content))]

    def test_a_short_one_takes_no_thread_before_it_is_there(self):
        with served(answering(), wsgi_threads=1) as server, server.connect() as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
            assert server.get()[0] == 200
            slow.sendall(b"56789")
            assert slow.recv(1000).startswith(b"HTTP/1.1 200")

    @pytest.mark.parametrize("threads", [1, 2, 4])
    @pytest.mark.parametrize("expects", [False, True])
    def test_slow_ones_leave_threads_to_others(self, threads, expects):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()[-1000:]]

        large = get().replace(b"GET", b"POST", 1)[:-2]
        content = bytes(range(256)) * 4000
        with served(app, wsgi_threads=threads) as server, contextlib.ExitStack() as stack:
            slow = [stack.enter_context(server.connect()) for _ in range(2 * threads)]
            for sock in slow:
                expected = b"Expect: 100-continue\r\n" if expects else b""
                sock.sendall(large + expected + b"Content-Length: 100000\r\n\r\n01234")
                if expects:
                    assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert server.get()[0] == 200
            got = server.exchange(large + b"Content-Length: 1024000\r\n\r\n" + content)
            assert got.endswith(content[-1000:])
            for sock in slow:
                sock.sendall(content[:99_995])
                assert read_all(sock).endswith(content[98_995:99_995])

    def test_where_too_much_is_kept_no_more_is_read(self):
        began = threading.Semaphore(0)

        def app(environ, start_response):
            began.release()
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

        content = bytes(range(256)) * 80_000
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        options = {"wsgi_threads": 2, "limit_wsgi_spool": 200_000}
        with (
            served(app, **options) as server,
            server.connect() as first,
            server.connect() as other,
            server.connect() as short,
        ):
            first.sendall(head % 100_000 + b"x" * 10)
            assert began.acquire(timeout=20)
            sending = threading.Thread(target=other.sendall, args=(head % len(content) + content,))
            sending.start()
            while server.server.measure()["received_bytes"] < 200_000:
                time.sleep(0.01)
            short.sendall(head % 50_000 + bytes(50_000))
            assert read_all(short).endswith(bytes(50_000))
            assert server.server.measure()["received_bytes"] < 2_000_000
            first.sendall(b"x" * 99_990)
            assert read_all(first).endswith(b"x" * 100_000)
            assert read_all(other).endswith(content)
            sending.join()

    @pytest.mark.parametrize("broken", [False, True])
    def test_what_is_kept_is_read_first(self, monkeypatch, broken):
        """Also where it can't be: then the rest is read by a thread."""
        if broken:
            real, budget = os.pwrite, [100_000]

            def pwrite(fd, data, offset):
                count = min(len(data), budget[0])
                if not count:
                    raise OSError(errno.ENOSPC, "full")
                budget[0] -= count
                return real(fd, data[:count], offset)

            monkeypatch.setattr(os, "pwrite", pwrite)
        content = bytes(range(256)) * 4000
        request = get("/", f"Content-Length: {len(content)}").replace(b"GET", b"POST", 1) + content
        assert environ_for(request, wsgi_threads=1)["body"] == content

    def test_of_a_client_that_goes_nothing_is_kept(self):
        called = threading.Event()

        def app(environ, start_response):
            called.set()

        with served(app, wsgi_threads=1) as server:
            before = len(os.listdir("/proc/self/fd"))
            with server.connect() as sock:
                sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
                sock.sendall(bytes(200_000))
                while server.server.measure()["received_bytes"] < 200_000:
                    time.sleep(0.01)
                assert len(os.listdir("/proc/self/fd")) > before + 2
            while server.server.connections:
                time.sleep(0.01)
            assert len(os.listdir("/proc/self/fd")) <= before
        assert not called.is_set()

    @pytest.mark.parametrize("how", ["ends", "resets", "shuts its half"])
    def test_a_client_that_goes_is_told_of_by_an_error(self, how, caplog):
        """Which is no error of the application's that lets it out."""
        errors = []
        ended = threading.Event()

        def app(environ, start_response):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                errors.append(error)
                raise
            finally:
                ended.set()

        with served(app) as server:
            with server.connect() as sock:
                if how == "resets":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n01234")
                if how == "shuts its half":
                    sock.shutdown(socket.SHUT_WR)
                    assert ended.wait(20)
            assert ended.wait(20)
        assert isinstance(errors[0], ConnectionResetError)
        assert not caplog.records

    def test_100_continue_comes_when_it_is_read(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

        with served(app) as server, server.connect() as sock:
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\n\r\n"
            )
            assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"ok")
            assert read_all(sock).endswith(b"\r\n\r\nok")


class TestResponse:
    def test_one_block_has_a_length(self):
        with served(answering(headers=[("X-A", "caf\u00e9")])) as server:
            status, fields, body = server.get()
        assert (status, body) == (200, b"Hello")
        assert fields["content-length"] == "5"
        assert fields["x-a"] == "caf\u00e9"

    def test_none_at_all(self):
        def app(environ, start_response):
            start_response("404 Nothing here", [])
            return []

        with served(app) as server:
            status, fields, body = server.get()
        assert (status, body, fields["content-length"]) == (404, b"", "0")

    def test_the_head_waits_for_a_block_that_is_not_empty(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            yield b""
            try:
                raise KeyError
            except KeyError:
                start_response("503 Sorry", [], sys.exc_info())
            yield b"later"

        with served(app) as server:
            assert server.get()[0] == 503

    def test_blocks_leave_one_by_one(self):
        goes_on = threading.Semaphore(0)

        def app(environ, start_response):
            start_response("200 OK", [])
            for block in (b"one", b"two"):
                yield block
                assert goes_on.acquire(timeout=20)

        with served(app) as server, server.connect() as sock:
            sock.sendall(get())
            received = b""
            for block in (b"3\r\none\r\n", b"3\r\ntwo\r\n"):
                while not received.endswith(block):
                    received += sock.recv(1000)
                goes_on.release()
            assert read_all(sock) == b"0\r\n\r\n"

    def test_write(self):
        def app(environ, start_response):
            write = start_response("200 OK", [("Content-Length", "6")])
            write(b"one")
            write(b"")
            return [b"two"]

        with served(app) as server:
            assert server.get()[2] == b"onetwo"

    def test_head(self):
        closed = threading.Event()

        class Endless:
            def __iter__(self):
                return self

            def __next__(self):
                return b"more"

            def close(self):
                closed.set()

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "1000")])
            return Endless()

        with served(app) as server:
            status, fields, body = server.get(method="HEAD")
            assert closed.wait(20)
        assert (status, fields["content-length"], body) == (200, "1000", b"")

    def test_a_file_by_the_wrapper(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"0123456789" * 20_000)

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", str(path.stat().st_size))])
            return environ["wsgi.file_wrapper"](open(path, "rb"))

        with served(app) as server:
            assert server.get()[2] == path.read_bytes()

    def test_a_thread_waits_for_a_slow_client(self):
        made = []
        size = 1 << 16
        count = 2000

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", str(size * count))])
            for number in range(count):
                made.append(number)
                yield b"x" * size

        with served(app) as server, server.connect() as sock:
            sock.sendall(get())
            received = len(sock.recv(1000))
            # Until nothing moves: the buffers of both sockets are full, and the iteration stands.
            before = -1
            with server.connect() as other:
                other.settimeout(0.3)
                while before != len(made):
                    before = len(made)
                    with pytest.raises(TimeoutError):
                        other.recv(1)
            assert len(made) < count / 2
            while piece := sock.recv(1 << 20):
                received += len(piece)
            assert received > size * count

    def test_contexts_are_carried(self):
        variable = contextvars.ContextVar("variable", default="unset")

        def app(environ, start_response):
            start_response("200 OK", [])
            before = variable.get()
            variable.set("set")
            yield f"{before} ".encode()
            yield variable.get().encode()

        with served(app, wsgi_threads=1) as server:
            for _ in range(2):
                assert b"unset " in server.get()[2]

    def test_many_at_once(self):
        barrier = threading.Barrier(5)

        def app(environ, start_response):
            barrier.wait(20)
            start_response("200 OK", [])
            return [b"met"]

        with served(app, wsgi_threads=5) as server:
            answers = []
            threads = [
                threading.Thread(target=lambda: answers.append(server.get()[2])) for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert answers == [b"met"] * 10


class Closing:
    def __init__(self, blocks):
        self.blocks = blocks
        self.closed = threading.Event()

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return self

    def __iter__(self):
        return self.blocks()

    def close(self):
        self.closed.set()


class TestErrors:
    def failing_before(self, environ, start_response):
        raise KeyError("before")

    def failing_after_start(self, environ, start_response):
        start_response("200 OK", [("Content-Length", "3")])
        raise KeyError("after")

    def failing_in_the_iteration(self, environ, start_response):
        start_response("200 OK", [])
        yield b""
        raise KeyError("in")

    def never_starting(self, environ, start_response):
        return [b"block"]

    def returning_nothing(self, environ, start_response):
        return []

    def not_bytes(self, environ, start_response):
        start_response("200 OK", [])
        return ["text"]

    def starting_twice(self, environ, start_response):
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    def a_bad_status(self, environ, start_response):
        start_response("OK", [])
        return []

    def splitting(self, environ, start_response):
        start_response("200 OK", [("X-A", "a\r\nX-B: b")])
        return [b"block"]

    @pytest.mark.parametrize(
        "name",
        [
            "failing_before",
            "failing_after_start",
            "failing_in_the_iteration",
            "never_starting",
            "returning_nothing",
            "not_bytes",
            "starting_twice",
            "a_bad_status",
            "splitting",
        ],
    )
    def test_before_anything_is_sent(self, name, caplog):
        with served(getattr(self, name)) as server:
            assert server.get()[0] == 500
        (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert record.exc_info is not None

    def test_after_the_head_the_connection_breaks_off(self, caplog):
        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"one"
            try:
                raise KeyError("late")
            except KeyError:
                start_response("500 Sorry", [], sys.exc_info())

        with served(app) as server:
            response = server.exchange(get())
        assert b"one" in response
        assert not response.endswith(b"0\r\n\r\n")
        assert "late" in caplog.text

    def test_close_is_called(self):
        def failing():
            yield b"one"
            raise KeyError

        for blocks in (lambda: iter([b"one", b"two"]), failing):
            app = Closing(blocks)
            with served(app) as server:
                server.exchange(get())
                assert app.closed.wait(20)

    def test_a_client_that_goes_ends_the_iteration(self):
        def endless():
            while True:
                yield b"x" * 1000

        app = Closing(endless)
        with served(app) as server:
            with server.connect() as sock:
                sock.sendall(get())
                assert sock.recv(1000)
            assert app.closed.wait(20)

    def test_a_server_that_stops_gives_a_call_up(self):
        def endless():
            while True:
                yield b"x" * 1000

        app = Closing(endless)
        with served(app, timeout_graceful_shutdown=0.1) as server:
            sock = server.connect()
            sock.sendall(get())
            assert sock.recv(1000)
        assert app.closed.wait(20)
        sock.close()

    def test_a_websocket_is_refused(self):
        with served(answering()) as server:
            assert server.get(
                "/",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            )[0] in (200, 403)


class TestValidator:
    """wsgiref's, which looks at both sides of the interface."""

    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    @pytest.mark.filterwarnings("error::wsgiref.validate.WSGIWarning")
    def test_finds_nothing(self, method):
        def app(environ, start_response):
            body = environ["wsgi.input"].read(100)
            environ["wsgi.errors"].write("")
            environ["wsgi.errors"].flush()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [body or b"nothing"]

        with served(validator(app), interface="wsgi") as server:
            request = (
                f"{method} /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                "Connection: close\r\n\r\nbody"
            )
            response = server.exchange(request.encode())
            assert response.startswith(b"HTTP/1.1 200 OK\r\n"), response
            # The validator's iterator has no length.
            chunks = b"" if method == "HEAD" else b"4\r\nbody\r\n0\r\n\r\n"
            assert response.partition(b"\r\n\r\n")[2] == chunks


def test_flask():
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)

    @app.route("/items/<name>", methods=["GET", "POST"])
    def item(name):
        return flask.jsonify(
            name=name,
            query=flask.request.args,
            form=flask.request.form,
            files={key: file.read().decode() for key, file in flask.request.files.items()},
            url=flask.request.url,
        )

    @app.route("/stream")
    def stream():
        return flask.Response((f"{number}\n" for number in range(1000)), mimetype="text/plain")

    @app.route("/fail")
    def fail():
        raise KeyError("fail")

    httpx = pytest.importorskip("httpx")
    with served(app) as server, httpx.Client(base_url=server.url) as client:
        answer = client.get("/items/caf\u00e9?a=1").json()
        assert answer["name"] == "caf\u00e9"
        assert answer["query"] == {"a": "1"}
        assert answer["url"] == f"{server.url}/items/caf\u00e9?a=1"
        assert client.post("/items/x", data={"a": "b"}).json()["form"] == {"a": "b"}
        big = "x" * 500_000
        assert client.post("/items/x", files={"f": big}).json()["files"] == {"f": big}
        lines = client.get("/stream").text.splitlines()
        assert lines == [str(number) for number in range(1000)]
        assert client.get("/fail").status_code == 500
        assert client.get("/none").status_code == 404


def test_connections_are_kept():
    with served(answering()) as server, server.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\nHello"):
                received += sock.recv(1000)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
