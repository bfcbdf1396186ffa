"""Web servers under many clients at once, and a scraper of many pages."""

import os
import signal
from pathlib import Path

import pytest

from .local import OpenFiles, Run, examples


class TestAiohttpServer:
    def test_a_thousand_clients_are_answered_in_under_two_seconds(
        self, runtime: list[str], open_files: OpenFiles
    ) -> None:
        pytest.importorskip("aiohttp")
        open_files(1200)
        tries = []
        with examples.serving(runtime, "hello_aiohttp.py") as (_, port):
            # The best of three: other processes on the machine take their time, too.
            while len(tries) < 3 and min(tries, default=2.0) >= 2.0:
                seconds, answers = examples.ask(port, 1000)
                assert answers == {"200 Hello, world": 1000}
                tries.append(seconds)
        assert 1.0 <= min(tries) < 2.0, tries

    def test_ends_when_it_is_interrupted(self, runtime: list[str]) -> None:
        pytest.importorskip("aiohttp")
        with examples.serving(runtime, "hello_aiohttp.py") as (process, port):
            assert examples.ask(port, 2).answers == {"200 Hello, world": 2}
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert b"Traceback" not in process.stdout.read()


@pytest.mark.parametrize(
    ("program", "packages", "answer"),
    [
        ("hello_fastapi.py", ("fastapi", "uvicorn"), '200 {"hello":"world"}'),
        ("hello_tornado.py", ("tornado",), "200 Hello, world"),
    ],
    ids=["fastapi", "tornado"],
)
class TestFrameworks:
    def test_two_hundred_requests_at_once(
        self, runtime: list[str], program: str, packages: tuple[str, ...], answer: str
    ) -> None:
        for package in packages:
            pytest.importorskip(package)
        with examples.serving(runtime, program) as (process, port):
            seconds, answers = examples.ask(port, 200)
            assert answers == {answer: 200}
            # Each takes 0.1 s: one after the other it would be 20.
            assert seconds < 4
            # Twice, since the first client of a server pays for its imports.
            before = _sockets(process.pid)
            assert examples.ask(port, 200).answers == {answer: 200}
            assert _sockets(process.pid) == before


def _sockets(pid: int) -> int:
    """How many sockets a process has open."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(entry).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


class TestScraper:
    def test_each_server_has_its_own_fate(self, run: Run) -> None:
        pytest.importorskip("aiohttp")
        with examples.sites() as urls:
            process = run("scraper.py", *urls.values())
        lines = process.stdout.splitlines()
        assert lines[0] == f"{urls['good']}: 200, 1000 bytes"
        assert lines[1] == f"{urls['slow']}: 200, 1000 bytes"
        assert lines[2] in (
            f"{urls['reset']}: ClientOSError",
            f"{urls['reset']}: ServerDisconnectedError",
        )
        assert lines[3] == f"{urls['failing']}: 500, 0 bytes"
        assert process.stderr == ""

    def test_two_thousand_pages_at_once(self, run: Run, open_files: OpenFiles) -> None:
        pytest.importorskip("aiohttp")
        open_files(2200)
        with examples.sites() as urls:
            process = run("scraper.py", stdin=f"{urls['good']}\n" * 2000)
        assert process.stdout == f"{urls['good']}: 200, 1000 bytes\n" * 2000
        assert process.stderr == ""

    def test_a_server_that_is_not_there(self, run: Run) -> None:
        pytest.importorskip("aiohttp")
        url = f"http://127.0.0.1:{examples.free_port()}/"
        assert run("scraper.py", url).stdout == f"{url}: ClientConnectorError\n"
