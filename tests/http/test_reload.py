"""`--reload`: a worker that starts anew when a file changes, behind sockets that stay."""

import asyncio
import os
import signal

import penstock
import pytest

from .processes import APP, command, request, until


@pytest.fixture
def new_loop():
    return penstock.new_event_loop


def version(text):
    return APP.replace('VERSION = "1"', f'VERSION = "{text}"')


async def answer(port, wanted):
    while not (await request(port)).startswith(wanted):
        await asyncio.sleep(0.02)


async def test_a_change_is_served_and_nobody_is_refused(tmp_path):
    async with command(tmp_path, "--reload", "--reload-delay", "0.05") as served:
        port = await served.serves()
        for number in range(3):
            served.write(version(f"change {number}"))
            await answer(port, f"change {number}")  # each request is answered: request() asserts it
        assert "served.py has changed: reloading" in served.log
        assert await served.stop(signal.SIGINT) == 130


async def test_broken_code_is_waited_for(tmp_path):
    async with command(tmp_path, "--reload", "--reload-delay", "0.05") as served:
        port = await served.serves()
        served.write("this is no Python")
        await served.logged("Waiting for a file to change")
        assert "SyntaxError" in served.log
        patient = asyncio.ensure_future(request(port))
        served.write(version("mended"))
        assert (await patient).startswith("mended")
        assert await served.stop() == -signal.SIGTERM


async def test_only_what_counts_is_watched(tmp_path):
    (tmp_path / "skipped").mkdir()
    (tmp_path / ".hidden").mkdir()
    words = ("--reload", "--reload-delay", "0.05", "--reload-include", "*.html")
    async with command(tmp_path, *words, "--reload-exclude", "skipped") as served:
        await served.serves()
        [before] = served.workers
        for name in ("skipped/a.py", ".hidden/b.py", "c.txt"):
            (tmp_path / name).write_text("x")
        (tmp_path / "page.html").write_text("x")
        await served.logged("page.html has changed: reloading")
        await until(lambda: served.workers and before not in served.workers)
        os.unlink(tmp_path / "page.html")
        await served.logged("page.html has changed: reloading", 2)
        for name in ("skipped", ".hidden", "c.txt"):
            assert name not in served.log
        assert await served.stop() == -signal.SIGTERM


async def test_an_application_that_can_not_start(tmp_path):
    async with command(tmp_path, "--reload", app="") as served:
        assert await served.ended() == 2
        assert served.log.count("module 'served' has no 'app'") == 1
