"""Where options stand, and those that only a process of its own can show."""

import json
import re
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest
from penstock._serve.config import Config, ServerError, workers

from .served import served_by_command

APP = """
import os

def app(scope, *more):
    async def answer(receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": os.environ["GREETING"].encode()})
    return answer

app.__signature__ = "none that tells what it speaks"
"""
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(message)s", "class": "logging.Formatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "short"},
        "file": {"class": "logging.FileHandler", "formatter": "short", "filename": "requests.log"},
    },
    "loggers": {
        "penstock.server": {"level": "INFO", "handlers": ["stderr"]},
        "penstock.access": {"level": "INFO", "handlers": ["file"]},
    },
}
INI = """
[loggers]
keys=root,server,access
[handlers]
keys=stderr,file
[formatters]
keys=short
[logger_root]
handlers=
[logger_server]
qualname=penstock.server
level=INFO
handlers=stderr
[logger_access]
qualname=penstock.access
level=INFO
handlers=file
[handler_stderr]
class=StreamHandler
formatter=short
args=()
[handler_file]
class=FileHandler
formatter=short
args=("requests.log",)
[formatter_short]
format=%(message)s
"""


def toml(value):
    """The little of it that is needed here."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(each)}' for key, each in value.items()) + "}"
    return json.dumps(value)


def log_config(kind):
    if kind == "json":
        return json.dumps(LOGGING)
    if kind == "toml":
        return "".join(f"{key} = {toml(value)}\n" for key, value in LOGGING.items())
    return INI


@pytest.mark.parametrize(
    ("where", "kind"), [("words", "json"), ("environment", "toml"), ("pyproject", "ini")]
)
def test_options_wherever_they_stand(tmp_path, where, kind):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "an_inner_app.py").write_text(APP)
    (tmp_path / "variables").write_text("# those of tests\nexport GREETING='Hello, you'\n\n")
    (tmp_path / f"logging.{kind}").write_text(log_config(kind))
    options = {
        "app-dir": "inner",
        "env-file": "variables",
        "interface": "asgi2",
        "lifespan": "off",
        "log-config": f"logging.{kind}",
    }
    words, environment = [], {}
    if where == "words":
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
    elif where == "environment":
        environment = {
            f"PENSTOCK_{name.upper().replace('-', '_')}": value for name, value in options.items()
        }
    else:
        lines = [f"{name} = {toml(value)}" for name, value in options.items()]
        text = "\n".join(["[project]", 'name = "a"', "[tool.penstock.serve]", *lines, ""])
        (tmp_path / "pyproject.toml").write_text(text)
        words = ["--config", "pyproject.toml"]
    with served_by_command("an_inner_app:app", *words, directory=tmp_path, **environment) as served:
        with urlopen(f"http://127.0.0.1:{served[1]}/a", timeout=20) as response:
            assert response.read() == b"Hello, you"
    assert '"GET /a HTTP/1.1" 200 OK' in (tmp_path / "requests.log").read_text()


# ---- from code ---------------------------------------------------------------------------------

SCRIPT = """
import sys
import penstock

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world"})

try:
    penstock.serve(app, port=0, lifespan="off", headers=[("X-A", "b")])
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 7)]
)
def test_from_code(tmp_path, number, status):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            found = next(re.finditer(r"serves on (http://[\d.]+:\d+)", process.stderr.readline()))
            with urlopen(found[1], timeout=20) as response:
                assert (response.read(), response.headers["X-A"]) == (b"Hello, world", "b")
            process.send_signal(number)
            assert process.wait(20) == status
        finally:
            process.kill()


def test_workers_from_code_need_a_name(tmp_path):
    script = SCRIPT.replace("port=0", "workers=2")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "penstock.ServerError: workers import the application" in done.stderr


# ---- how many processes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "options", "count"),
    [
        (None, {}, 0),
        ("", {}, 0),
        ("0", {}, 0),
        ("3", {}, 3),
        ("3", {"workers": 0}, 0),
        ("3", {"workers": 1}, 1),
        ("3", {"reload": True}, 1),
        (None, {"limit_worker_lifetime": 10}, 1),
        (None, {"limit_worker_rss": "100m"}, 1),
        ("3", {"limit_worker_rss": "100m"}, 3),
    ],
)
def test_how_many_workers(monkeypatch, variable, options, count):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    if variable is not None:
        monkeypatch.setenv("WEB_CONCURRENCY", variable)
    assert workers(Config(**options)) == count


def test_how_many_workers_that_is_no_number(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    with pytest.raises(ServerError, match="WEB_CONCURRENCY must be a whole number"):
        workers(Config())
    with pytest.raises(ServerError, match="leave workers out"):
        workers(Config(reload=True, workers=2))
