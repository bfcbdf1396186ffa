"""What an ASGI application gets and what becomes of what it sends."""

import asyncio
import contextvars
import logging

import pytest

from .conftest import hello

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def responding(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def start(status=200, headers=(), **more):
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(content=b"", more_body=False):
    return {"type": "http.response.body", "body": content, "more_body": more_body}


def post(content, *lines):
    head = "".join(f"{line}\r\n" for line in ("Host: a", f"Content-Length: {len(content)}", *lines))
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + content


# ---- the scope ---------------------------------------------------------------------------------


async def test_the_scope(serve):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await hello(scope, receive, send)

    async with serve(app, root_path="/api") as serving, serving.client() as client:
        await client.send(
            b"PUT /a%20b/%C3%A9?x=%31&y HTTP/1.1\r\nHost: h\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n"
        )
        assert (await client.response())[0] == 200
        port = client.writer.get_extra_info("sockname")[1]
        (scope,) = scopes
        assert scope["type"] == "http"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
        assert scope["http_version"] == "1.1"
        assert scope["method"] == "PUT"
        assert scope["scheme"] == "http"
        assert scope["path"] == "/api/a b/é"
        assert scope["raw_path"] == b"/api/a%20b/%C3%A9"
        assert scope["query_string"] == b"x=%31&y"
        assert scope["root_path"] == "/api"
        assert scope["headers"] == [(b"host", b"h"), (b"x-twice", b"1"), (b"x-twice", b"2")]
        assert scope["client"] == ("127.0.0.1", port)
        assert scope["server"] == ("127.0.0.1", serving.port)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/%", "/%", b""),
        (b"/%zz%4", "/%zz%4", b""),
        (b"/%ff", "/\ufffd", b""),
        (b"/a?", "/a", b""),
        (b"/a?b?c", "/a", b"b?c"),
        (b"/a//../b", "/a//../b", b""),
        (b"http://h/x?y", "/x", b"y"),
        (b"http://h?y", "/", b"y"),
        (b"http://h", "/", b""),
    ],
)
async def test_the_path(serve, target, path, query):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await hello(scope, receive, send)

    async with serve(app) as serving:
        status, _, _ = await serving.get(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status == 200
    assert (scopes[0]["path"], scopes[0]["query_string"]) == (path, query)


async def test_scopes_share_nothing_that_can_be_changed(serve):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})
            return
        assert "mine" not in scope
        assert "mine" not in scope["extensions"]
        assert "mine" not in scope["asgi"]
        assert "mine" not in scope["state"]
        assert len(scope["headers"]) == 1
        for each in (scope, scope["extensions"], scope["asgi"], scope["state"]):
            each["mine"] = 1
        scope["headers"].append((b"mine", b"1"))
        await hello(scope, receive, send)

    async with serve(app, lifespan="auto") as serving, serving.client() as client:
        for _ in range(3):
            await client.send(GET)
            assert (await client.response())[0] == 200


# ---- receive -----------------------------------------------------------------------------------


async def test_a_body_that_is_there_comes_in_one_message(serve):
    got = []

    async def app(scope, receive, send):
        got.append(await receive())
        await hello(scope, receive, send)
        got.append(await receive())

    async with serve(app) as serving:
        assert (await serving.get(post(b"x" * 1000)))[0] == 200
    assert got == [
        {"type": "http.request", "body": b"x" * 1000, "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_in_pieces(serve, chunked):
    got = []
    more = asyncio.Event()

    async def app(scope, receive, send):
        while True:
            message = await receive()
            got.append(message["body"])
            more.set()
            if not message["more_body"]:
                break
        await hello(scope, receive, send)

    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 9"
    async with serve(app) as serving, serving.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        for piece in (b"abc", b"def", b"ghi"):
            await client.send(b"3\r\n" + piece + b"\r\n" if chunked else piece)
            await more.wait()
            more.clear()
        if chunked:
            await client.send(b"0\r\n\r\n")
        assert (await client.response())[0] == 200
    assert b"".join(got) == b"abcdefghi"


async def test_a_body_that_nobody_reads_waits_with_the_client(serve):
    """Backpressure: what is not received is not taken from the client for ever."""
    go_on = asyncio.Event()
    size = 64 << 20
    total = 0

    async def app(scope, receive, send):
        nonlocal total
        await go_on.wait()
        while True:
            message = await receive()
            total += len(message["body"])
            if not message["more_body"]:
                break
        await hello(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.writer.write(bytes(size))
        sending = asyncio.ensure_future(client.writer.drain())
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done, "all of it was taken"
        go_on.set()
        assert (await client.response())[0] == 200
        await sending
    assert total == size


async def test_expect_continue_is_answered_when_the_body_is_asked_for(serve):
    async def app(scope, receive, send):
        message = await receive()
        await send(start())
        await send(body(message["body"]))

    async with serve(app) as serving, serving.client() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.response())[0] == 100
        await client.send(b"abc")
        assert (await client.response())[::2] == (200, b"abc")


async def test_expect_continue_without_a_question(serve):
    async with serve(hello) as serving, serving.client() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.response())[0] == 200


async def test_receive_tells_of_a_client_that_has_gone(serve):
    messages = asyncio.Queue()

    async def app(scope, receive, send):
        messages.put_nowait(await receive())
        messages.put_nowait(await receive())
        messages.put_nowait(await receive())

    async with serve(app) as serving:
        async with serving.client() as client:
            await client.send(GET)
            assert (await messages.get())["type"] == "http.request"
        assert await messages.get() == {"type": "http.disconnect"}
        assert await messages.get() == {"type": "http.disconnect"}


async def test_several_tasks_receive(serve):
    """As Starlette does, which listens for the disconnect beside the application."""
    got = []

    async def app(scope, receive, send):
        await receive()
        waiting = [asyncio.ensure_future(receive()) for _ in range(20)]
        await asyncio.sleep(0)
        for each in waiting[::2]:
            each.cancel()
        await hello(scope, receive, send)
        got.extend(await asyncio.gather(*waiting, return_exceptions=True))

    async with serve(app) as serving:
        assert (await serving.get())[0] == 200
    assert [isinstance(each, asyncio.CancelledError) for each in got] == [True, False] * 10
    assert got[1] == {"type": "http.disconnect"}


# ---- send --------------------------------------------------------------------------------------


async def test_a_length_is_told_where_it_is_known(serve):
    async with serve(responding(start(), body(b"abc"))) as serving:
        status, fields, content = await serving.get()
    assert (status, content, fields["content-length"]) == (200, b"abc", "3")
    assert "transfer-encoding" not in fields


async def test_chunks(serve):
    app = responding(start(), body(b"a", True), body(b"", True), body(b"bc", True), body())
    async with serve(app) as serving:
        status, fields, content = await serving.get()
    assert (status, content, fields["transfer-encoding"]) == (200, b"abc", "chunked")


async def test_an_old_client_gets_no_chunks(serve):
    async with serve(responding(start(), body(b"a", True), body(b"b"))) as serving:
        async with serving.client() as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            status, fields, content = await client.response()
    assert (status, content, fields["connection"]) == (200, b"ab", "close")
    assert "transfer-encoding" not in fields


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body(serve, status):
    async with serve(responding(start(status), body())) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(GET)
            got, fields, _ = await client.response()
            assert got == status
            assert "content-length" not in fields
            assert "transfer-encoding" not in fields


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"3")]])
async def test_head(serve, headers):
    async with serve(responding(start(headers=headers), body(b"abc"))) as serving:
        async with serving.client() as client:
            for _ in range(2):
                await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
                status, fields, _ = await client.response(head=True)
                assert (status, fields["content-length"]) == (200, "3")


@pytest.mark.parametrize("size", [0, 1, 32 * 1024 - 1, 32 * 1024, 5 << 20])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_all_sizes(serve, size, chunked):
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    more = [body(content, True), body(b"end")] if chunked else [body(content)]
    async with serve(responding(start(), *more)) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(GET)
            assert (await client.response())[2] == content + b"end" * chunked


@pytest.mark.parametrize("content", [bytearray(b"abc"), memoryview(b"abc")])
async def test_a_body_that_is_like_bytes(serve, content):
    async with serve(responding(start(), body(content))) as serving:
        assert (await serving.get())[2] == b"abc"


async def test_headers_of_the_servers_own(serve):
    app = responding(
        start(headers=[(b"connection", b"upgrade"), (b"transfer-encoding", b"x")]), body()
    )
    async with serve(app, header=("X-Frame-Options: DENY",)) as serving:
        _, fields, _ = await serving.get()
    assert fields["server"] == "penstock"
    assert fields["date"].endswith(" GMT")
    assert fields["x-frame-options"] == "DENY"
    assert "connection" not in fields
    assert "transfer-encoding" not in fields


async def test_headers_of_the_servers_own_can_be_others(serve):
    app = responding(start(headers=[(b"Server", b"mine"), (b"Date", b"today")]), body())
    async with serve(app) as serving:
        _, fields, _ = await serving.get()
    assert (fields["server"], fields["date"]) == ("mine", "today")


async def test_headers_of_a_head_that_could_not_be_sent_are_not_instead_of_the_servers(serve):
    async def app(scope, receive, send):
        headers = [(b"server", b"mine"), (b"date", b"then"), (b"a", b"\n")]
        with pytest.raises(ValueError, match="invalid value of the header"):
            await send(start(headers=headers))
        await send(start())
        await send(body())

    async with serve(app) as serving:
        _, fields, _ = await serving.get()
    assert fields["server"] == "penstock" and fields["date"].endswith(" GMT")


async def test_no_headers_of_the_servers_own(serve):
    app = responding(start(), body())
    async with serve(app, server_header=False, date_header=False) as serving:
        _, fields, _ = await serving.get()
    assert fields == {"content-length": "0"}


async def test_trailers(serve):
    app = responding(
        start(trailers=True),
        body(b"abc"),
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": False},
    )
    async with serve(app) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(GET)
            _, fields, content = await client.response()
            assert (content, fields["x-sum"]) == (b"abc", "6")


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"transfer-encoding", b"Set-Cookie", b"trailer", b"host"]
)
async def test_a_trailer_that_belongs_into_the_head(serve, caplog, name):
    trailers = {"type": "http.response.trailers", "headers": [(name, b"1")]}
    async with serve(responding(start(trailers=True), body(b"abc"), trailers)) as serving:
        async with serving.client() as client:
            await client.send(GET)
            assert name + b": 1" not in await client.ended()
    assert "can't be sent as a trailer" in caplog.text


@pytest.mark.parametrize(("status", "stands"), [(204, False), (304, True)])
async def test_the_length_of_what_has_no_body(serve, status, stands):
    """RFC 9110, 8.6: a 304 tells what a 200 would have; a 204 has none."""
    app = responding(start(status, headers=[(b"content-length", b"5")]), body())
    async with serve(app) as serving, serving.client() as client:
        for _ in range(2):
            await client.send(GET)
            answered, fields, content = await client.response()
            assert (answered, content) == (status, b"")
            assert ("content-length" in fields) == stands


async def test_early_hints(serve):
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    async with serve(responding(hint, start(), body(b"abc"))) as serving:
        async with serving.client() as client:
            await client.send(GET)
            status, fields, _ = await client.response()
            assert (status, fields["link"]) == (103, "</a.css>; rel=preload")
            assert (await client.response())[::2] == (200, b"abc")


async def test_chunks_leave_as_they_are_sent(serve):
    seen = asyncio.Event()

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"first", True))
        await seen.wait()
        await send(body(b"second"))

    async with serve(app) as serving, serving.client() as client:
        await client.send(GET)
        await client.reader.readuntil(b"first\r\n")
        seen.set()
        await client.reader.readuntil(b"second\r\n0\r\n\r\n")


async def test_send_waits_for_a_slow_client(serve):
    sent = 0
    chunk = bytes(1 << 20)

    async def app(scope, receive, send):
        nonlocal sent
        await send(start())
        for _ in range(64):
            await send(body(chunk, True))
            sent += 1
        await send(body())

    async with serve(app) as serving, serving.client() as client:
        await client.send(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)  # nothing can tell that nothing happens
        assert sent < 32
        total = 0
        while size := int(await client.reader.readline(), 16):
            await client.reader.readexactly(size + 2)
            total += size
        assert total == 64 << 20


async def test_send_acts_when_it_is_awaited(serve):
    async def app(scope, receive, send):
        late = send(body(b"abc"))
        await send(start())
        await late

    async with serve(app) as serving:
        assert (await serving.get())[2] == b"abc"


async def test_send_in_a_task(serve):
    async def app(scope, receive, send):
        await asyncio.create_task(send(start()))
        await asyncio.wait_for(send(body(b"abc")), 5)

    async with serve(app) as serving:
        assert (await serving.get())[2] == b"abc"


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([body(b"x")], "Unexpected ASGI message 'http.response.body' sent, before"),
        ([start(), start()], "Unexpected ASGI message 'http.response.start' sent, where"),
        ([{"type": "nonsense"}], "Unexpected ASGI message 'nonsense'"),
        ([{}], "'type'"),
        ([None], "a message, which is a dict"),
        ([{"type": "http.response.start"}], "'status'"),
        ([start(99)], "status has to be from 200 to 999"),
        ([start(headers=[(b"a b", b"c")])], "invalid header name"),
        ([start(headers=[(b"a", b"c\r\nd: e")])], "invalid value of the header b'a'"),
        ([start(headers=[("a", "b")])], "pair of bytes"),
        ([start(headers=[(b"content-length", b"+1")])], "Content-Length is not a number"),
        ([start(), body("text")], "has to be bytes, not str"),
        ([start(headers=[(b"content-length", b"1")]), body(b"ab")], "longer than Content-Length"),
        ([start(headers=[(b"content-length", b"3")]), body(b"ab")], "shorter than Content-Length"),
    ],
)
async def test_messages_that_are_wrong(serve, caplog, messages, error):
    """The application hears of it, and may still answer where nothing has left."""
    async with serve(responding(*messages)) as serving:
        assert (await serving.get())[0] in (500, 200)
    (record,) = caplog.records
    assert error in str(record.exc_info[1])


async def test_messages_after_the_end(serve):
    errors = []

    async def app(scope, receive, send):
        await hello(scope, receive, send)
        for message in (start(), body()):
            try:
                await send(message)
            except RuntimeError as error:
                errors.append(str(error))

    async with serve(app) as serving:
        assert (await serving.get())[0] == 200
    assert len(errors) == 2
    assert all("after response already completed" in error for error in errors)


async def test_send_to_a_client_that_has_gone(serve):
    raised = asyncio.get_running_loop().create_future()

    async def app(scope, receive, send):
        await send(start())
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            while True:  # it may have shut down one direction only
                await send(body(b"x" * 100, True))
                await asyncio.sleep(0)
        except OSError as error:
            raised.set_result(error)
            raise

    async with serve(app) as serving:
        async with serving.client() as client:
            await client.send(GET)
            client.writer.transport.abort()
        await raised


# ---- the application's end ---------------------------------------------------------------------


async def test_an_exception_is_a_500_and_a_log_with_the_task(serve, caplog):
    async def app(scope, receive, send):
        await send(start())  # nothing has left yet
        raise ValueError("wrong")

    async with serve(app) as serving:
        status, fields, content = await serving.get()
    assert (status, content, fields["connection"]) == (500, b"Internal Server Error", "close")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Exception in ASGI application in GET / (Task-" in record.getMessage()
    assert record.exc_info[1].args == ("wrong",)


async def test_an_exception_in_the_midst_shows(serve):
    """The client sees that the body has no end."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"abc", True))
        await asyncio.sleep(0)
        raise ValueError("wrong")

    async with serve(app) as serving, serving.client() as client:
        await client.send(GET)
        try:
            assert not (await client.ended()).endswith(b"0\r\n\r\n")
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("messages", [[], [start()], [start(), body(b"a", True)]])
async def test_an_application_that_does_not_complete(serve, caplog, messages):
    async with serve(responding(*messages)) as serving, serving.client() as client:
        await client.send(GET)
        try:
            await client.ended()
        except ConnectionResetError:
            pass
    (record,) = caplog.records
    assert "ASGI callable returned without" in record.getMessage()


@pytest.mark.parametrize("app", [None, lambda scope: None, lambda a, b, c: 5])
async def test_an_application_that_is_none(serve, caplog, app):
    async with serve(app, interface="asgi3") as serving:
        assert (await serving.get())[0] == 500
    assert caplog.records


@pytest.mark.parametrize("sleeps", [False, True])
async def test_tasks_of_another_make(serve, caplog, sleeps):
    """A program's task factory may give tasks that are none of CPython's either."""

    async def app(scope, receive, send):
        if sleeps:
            await asyncio.sleep(0)
        if scope["path"] == "/fails":
            raise ValueError("wrong")
        await hello(scope, receive, send)

    def factory(loop, coro, **keywords):
        return asyncio.tasks._PyTask(coro, loop=loop, **keywords)

    async with serve(app) as serving, serving.client() as client:
        asyncio.get_running_loop().set_task_factory(factory)
        try:
            await client.send(GET)
            assert (await client.response())[0] == 200
            await client.send(b"GET /fails HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response())[0] == 500
        finally:
            asyncio.get_running_loop().set_task_factory(None)
    (record,) = caplog.records
    assert record.exc_info[1].args == ("wrong",)


async def test_what_runs_after_the_response_does_not_hold_the_connection(serve):
    go_on = asyncio.Event()
    ended = []

    async def app(scope, receive, send):
        await hello(scope, receive, send)
        await go_on.wait()
        ended.append(1)

    async with serve(app) as serving, serving.client() as client:
        for _ in range(3):
            await client.send(GET)
            assert (await client.response())[0] == 200
        assert not ended
        go_on.set()
    assert len(ended) == 3, "the server has not waited for them"


async def test_each_request_has_a_context_of_its_own(serve):
    var = contextvars.ContextVar("var", default=0)

    async def app(scope, receive, send):
        assert var.get() == 0
        var.set(1)
        await asyncio.sleep(0)
        assert var.get() == 1
        assert asyncio.current_task() in asyncio.all_tasks()
        await hello(scope, receive, send)

    async with serve(app) as serving, serving.client() as client:
        for _ in range(3):
            await client.send(GET)
            assert (await client.response())[0] == 200
