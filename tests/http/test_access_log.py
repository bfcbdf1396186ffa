"""Lines of the access log."""

import base64
import json
import logging
import os
import pickle
import re
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock._serve.access_log import Entry, Format, escaped, log_json
from penstock._serve.config import ServerError

from .served import served, served_by_command

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def entry(headers=(), target=b"/a", query=b"", response=None, **more):
    scope = {
        "type": "http",
        "client": ("1.2.3.4", 5),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
        "method": "GET",
        "raw_path": target,
        "query_string": query,
        "http_version": "1.1",
        "headers": list(headers),
        **more,
    }
    return Entry(scope, 200, 12, 1.5, response)


def line(text, *args, **more):
    return Format(text).line(entry(*args, **more))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%(h)s %(l)s %(m)s %(U)s %(q)s %(H)s", "1.2.3.4 - GET /a x=1 HTTP/1.1"),
        ("%(r)s", "GET /a?x=1 HTTP/1.1"),
        ("%(s)s %(B)s %(b)s %(T)s %(M)s %(D)s %(L)s", "200 12 12 1 1500 1500000 1.500000"),
        ("%(p)s", f"<{os.getpid()}>"),
        ("%(a)s|%(f)s", "agent|-"),
        ("%({User-Agent}i)s|%({none}i)s|%({X-Out}o)s", "agent|-|out"),
        ("100%% %(s)s", "100% 200"),
        ('%a %h %>s %b %Tf %P "%{User-Agent}i" %{x-out}o', None),
        ("no atoms", "no atoms"),
    ],
)
def test_atoms(text, expected):
    if expected is None:
        expected = f'1.2.3.4 1.2.3.4 200 12 1.500000 {os.getpid()} "agent" out'
    headers = [(b"user-agent", b"agent")]
    assert line(text, headers, query=b"x=1", response=[(b"X-Out", b"out")]) == expected


def test_a_websocket_has_no_method_but_gets():
    told = entry(type="websocket", scheme="ws")
    del told.scope["method"]
    assert Format("%(m)s %(r)s").line(told) == "GET GET /a HTTP/1.1"
    log_json(*told)


def test_the_time_is_that_of_the_request():
    assert re.fullmatch(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", line("%(t)s"))


def test_a_user():
    def user(value):
        return line("%(u)s", [(b"authorization", value)])

    assert user(b"Basic " + base64.b64encode(b"joe:secret")) == "joe"
    assert user(b"basic " + base64.b64encode(b'jo"e\n:x')) == 'jo\\"e\\n'
    assert user(b"Basic ???") == user(b"Bearer abc") == user(b"Basic") == "-"


def test_a_variable(monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    assert line("%({PLACE}e)s %({NO_PLACE}e)s") == "here -"


@pytest.mark.parametrize("text", ["%(x)s", "%", "%(h)", "%{a}z", "%y", "%(h"])
def test_what_is_no_atom(text):
    with pytest.raises(ValueError, match="stands for nothing"):
        Format(text)
    with (
        pytest.raises(ServerError, match="access_log_format"),
        served(hello, access_log_format=text),
    ):
        pass


def test_workers_get_it_as_it_is():
    text = "%(h)s %({x-out}o)s"
    copy = pickle.loads(pickle.dumps(Format(text)))
    assert copy.needs_headers
    assert copy.line(entry(response=[(b"x-out", b"out")])) == "1.2.3.4 out"


def test_one_format_at_a_time():
    with (
        pytest.raises(ServerError, match="exclude"),
        served(hello, access_log_format="%h", access_log_json=True),
    ):
        pass


@given(st.text(st.characters(max_codepoint=255)))
def test_nobody_forges_a_line(value):
    made = line('"%(a)s" "%(r)s"', [(b"user-agent", value.encode("latin-1"))], value.encode())
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"', made)
    assert made.isascii() and made.isprintable()


def test_escapes():
    assert escaped('a"b\\c\r\n\t\x1b\x7f\xe9') == 'a\\"b\\\\c\\r\\n\\t\\x1b\\x7f\\xe9'
    assert escaped("\u20ac") == "\\u20ac"


@given(st.text(st.characters(max_codepoint=255)))
def test_json(value):
    lines = []
    logger = logging.getLogger("penstock.access")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        log_json(*entry([(b"user-agent", value.encode("latin-1"))], query=b"x=1"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert "\n" not in lines[0] and lines[0].isascii()
    told = json.loads(lines[0])
    assert told["user_agent"] == value
    assert (told["client"], told["path"], told["query"]) == ("1.2.3.4", "/a", "x=1")
    assert (told["status"], told["bytes"], told["seconds"]) == (200, 12, 1.5)


async def hello(scope, receive, send):
    headers = iter([(b"X-Out", b"out"), (b"content-length", b"5")])
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def access(caplog):
    caplog.set_level(logging.INFO, "penstock.access")
    return lambda: [each.getMessage() for each in caplog.records if each.name == "penstock.access"]


def test_a_server_logs_in_the_format(access):
    text = '%(h)s "%(r)s" %(s)s %(B)s %({x-out}o)s %({content-length}o)s %({server}o)s'
    with served(hello, access_log_format=text) as server:
        assert server.get("/a?b=%0a")[2] == b"hello"
    assert access() == ['127.0.0.1 "GET /a?b=%0a HTTP/1.1" 201 5 out 5 -']


def test_what_the_server_answers_itself_has_no_headers(access):
    async def failing(scope, receive, send):
        raise KeyError

    with served(failing, access_log_format="%(s)s %({x-out}o)s") as server:
        assert server.get()[0] == 500
    assert access() == ["500 -"]


def test_the_default_is_uvicorns(access):
    with served(hello) as server:
        server.get("/a?b")
    assert re.fullmatch(r'127\.0\.0\.1:\d+ - "GET /a\?b HTTP/1\.1" 201 Created', access()[0])


def test_none(access):
    with served(hello, access_log=False, access_log_json=True) as server:
        server.get()
    assert access() == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--access-log-format", "%(m)s %(s)s"], r"GET 200"),
        (["--access-log-json"], r'\{"time":.*"status":200.*\}'),
        ([], r"INFO:     .* 200 OK"),
    ],
)
def test_on_the_command_line(words, expected, tmp_path):
    (tmp_path / "wsgi_hello.py").write_text(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n"
    )
    with served_by_command("wsgi_hello:app", *words, directory=tmp_path) as (process, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert response.read() == b"x"
        assert re.fullmatch(expected, process.stdout.readline().rstrip("\n"))
