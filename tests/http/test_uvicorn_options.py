"""Who comes from uvicorn has its options, in its way of writing, and its keywords."""

import inspect
import logging
import os
import subprocess
import sys

import penstock
import pytest
from penstock._serve.config import Config
from penstock.cli import serve as command

from .conftest import hello, serving

uvicorn = pytest.importorskip("uvicorn")
click = pytest.importorskip("click")

NOT_TAKEN = {"http2", "version", "app", "ssl_context_factory"}
VALUES = {
    "headers": "a: b",
    "log_config": "log.json",
    "forwarded_allow_ips": "127.0.0.1",
    "ws": "wsproto",
}


def words(option):
    """The option as its user types it."""
    if option.is_flag:
        return [option.opts[0]]
    if isinstance(option.type, click.Choice):
        return [option.opts[0], option.type.choices[-1]]
    numeric = option.type.name in ("integer", "float", "integer range", "float range")
    value = {"boolean": "false"}.get(option.type.name, "1" if numeric else "x")
    return [option.opts[0], VALUES.get(option.name, value)]


@pytest.mark.parametrize(
    "option",
    [each for each in uvicorn.main.params if each.name not in NOT_TAKEN],
    ids=lambda option: option.name,
)
def test_each_option_is_taken(option):
    given = vars(command._parser().parse_args(["app:app", *words(option)]))
    assert given.pop("app") == "app:app"
    [(name, value)] = [(name, value) for name, value in given.items() if value is not None]
    Config(**{"ssl_certfile": "x", "ssl_ca_certs": "x", name: value})


def test_each_keyword_is_taken():
    keywords = inspect.signature(uvicorn.run).parameters
    given = {name: each.default for name, each in keywords.items() if name not in NOT_TAKEN}
    config = Config(**given)
    assert config.limit_concurrency == Config().limit_concurrency > 0
    assert config.limit_max_requests == 0
    assert config.timeout_graceful_shutdown == 0
    assert config.log_config == given["log_config"]


def test_values_as_uvicorn_has_them():
    config = Config(
        headers=[("X-A", "1"), (b"x-b", b"2")],
        reload_dirs=["a", "b"],
        reload_includes="*.html",
        log_level=logging.WARNING,
        ssl_certfile="chain.pem",
        ssl_ca_certs="clients.pem",
        ssl_cert_reqs=2,
        ws_per_message_deflate="false",
        h11_max_incomplete_event_size=1000,
        ws_ping_interval=None,
    )
    assert config.header == ((b"X-A", b"1"), (b"x-b", b"2"))
    assert (config.reload_dir, config.reload_include) == (("a", "b"), ("*.html",))
    assert (config.log_level, config.ssl_cert_reqs) == ("warning", "required")
    assert config.ws_per_message_deflate is False
    assert (config.limit_head, config.ws_ping_interval) == (1000, 0)
    assert Config(log_level=5).log_level == "trace"


def test_http2_is_refused():
    with pytest.raises(penstock.ServerError, match="^http2 is refused: HTTP/1.1 is spoken"):
        Config(http2=True)


async def test_without_websockets_such_a_request_is_like_others():
    lines = (
        b"GET / HTTP/1.1",
        b"Host: a",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    async with serving(hello, ws="none") as served:
        status, _, body = await served.get(b"\r\n".join(lines) + b"\r\n\r\n")
    assert (status, body) == (200, b"Hello, world")


def test_what_has_no_effect_is_said(tmp_path):
    (tmp_path / "app.py").write_text("async def app(scope, receive, send): raise SystemExit\n")
    options = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "on", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "serve", "app:app", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "--loop: no effect: the loop is penstock's" in done.stderr
    assert "--http: no effect" in done.stderr
    version = subprocess.run(
        [sys.executable, "-m", "penstock", "serve", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert version.stdout == f"penstock {penstock.__version__}\n"
