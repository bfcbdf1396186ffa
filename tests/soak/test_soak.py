"""A short soak, and that a soak finds what it is for.

PENSTOCK_SOAK_SECONDS=300 makes it longer; PENSTOCK_SEED=n chooses other work.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import penstock
import pytest

from tests.soak import note
from tests.soak.figures import growth, slope
from tests.soak.soak import Failure, Soak
from tests.soak.work import KINDS, Kind

SECONDS = os.environ.get("PENSTOCK_SOAK_SECONDS", "10")
SEED = os.environ.get("PENSTOCK_SEED", "1")
ROOT = Path(__file__).parents[2]


def test_a_short_one():
    command = [sys.executable, "-m", "tests.soak", "--seconds", SECONDS, "--seed", SEED]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    assert found.stdout.startswith(f"seed {SEED}, ")


def soak(monkeypatch, work, expects=()):
    monkeypatch.setattr("tests.soak.soak.PATIENCE", 0.3)
    monkeypatch.setitem(KINDS, "work", Kind(work, 1, expects))
    with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
        runner.run(Soak(1, 1, ["work"]).run())


def test_a_descriptor_that_is_left(monkeypatch):
    kept = []

    async def work(ground, rng):
        if len(kept) < 20:
            kept.append(socket.socket())

    with pytest.raises(Failure, match="grown: descriptors: .*socket:"):
        soak(monkeypatch, work)
    for sock in kept:
        sock.close()


def test_a_task_that_is_left(monkeypatch):
    kept = set()

    async def work(ground, rng):
        if len(kept) < 20:
            kept.add(asyncio.create_task(asyncio.sleep(1000)))

    with pytest.raises(Failure, match="grown: tasks: .*sleep"):
        soak(monkeypatch, work)


def test_a_thread_that_is_left(monkeypatch):
    is_over = threading.Event()

    async def work(ground, rng):
        if not is_over.is_set() and threading.active_count() < 20:
            threading.Thread(target=is_over.wait, name="left").start()

    try:
        with pytest.raises(Failure, match=r"grown: threads: .*Thread\(left"):
            soak(monkeypatch, work)
    finally:
        is_over.set()


def test_an_object_that_is_left(monkeypatch):
    kept = []

    async def work(ground, rng):
        kept.append(ground.loop.create_future())

    with pytest.raises(Failure, match="grown: native objects: .*Future"):
        soak(monkeypatch, work)


@pytest.mark.memory
def test_memory_that_is_left(monkeypatch):
    kept = []

    async def work(ground, rng):
        kept.extend(bytes(100) for _ in range(50))

    with pytest.raises(Failure, match="grown: .*Python's memory: by .* a job"):
        soak(monkeypatch, work)


def test_a_job_that_fails(monkeypatch):
    async def work(ground, rng):
        raise ValueError("oh")

    with pytest.raises(Failure, match=r"job 1/work, work: ValueError\('oh'\) in work\(\), line"):
        soak(monkeypatch, work)
    soak(monkeypatch, work, expects=(ValueError,))


def test_a_job_that_does_not_end(monkeypatch):
    async def work(ground, rng):
        await asyncio.sleep(1000)

    with pytest.raises(Failure, match="job 1/work, work, does not end"):
        soak(monkeypatch, work)


def test_what_the_exception_handler_is_told(monkeypatch):
    async def work(ground, rng):
        ground.loop.call_soon(int, "x")

    with pytest.raises(Failure, match="the exception handler was told: Exception in callback int"):
        soak(monkeypatch, work)


def test_what_nobody_can_raise(monkeypatch):
    class Broken:
        def __del__(self):
            raise ValueError("dying")

    async def work(ground, rng):
        Broken()

    with pytest.raises(Failure, match="unraisable: ValueError"):
        soak(monkeypatch, work)


def test_a_warning(monkeypatch):
    async def work(ground, rng):
        socket.socket()

    with pytest.raises(Failure, match="ResourceWarning: unclosed <socket"):
        soak(monkeypatch, work)


def test_what_is_chosen_depends_on_the_seed_alone(monkeypatch):
    def chosen(seed):
        seen = []

        def kind(name):
            async def work(ground, rng):
                if len(seen) < 10:
                    seen.append((name, rng.random()))

            return Kind(work, 1, ())

        monkeypatch.setitem(KINDS, "one", kind("one"))
        monkeypatch.setitem(KINDS, "two", kind("two"))
        with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
            runner.run(Soak(seed, 0.3, ["one", "two"]).run())
        return seen

    assert chosen(1) == chosen(1) != chosen(2)


def test_a_trend_is_that_of_most():
    points = [(jobs, 1000 + 2 * jobs) for jobs in range(0, 1000, 100)]
    assert slope(points) == 2 and growth(points) == 1800
    points[3], points[7] = (300, 90_000), (700, -50)
    assert slope(points) == 2
    assert slope([(0, 1)]) == 0


def test_figures_are_put_between_the_markers(monkeypatch, tmp_path):
    with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
        done = Soak(1, 1, ["timers"])
        runner.run(done.run())
    path = tmp_path / "note.md"
    of_http = "<!-- figures of http -->\nof http\n<!-- /figures of http -->\n"
    path.write_text(f"# Note\n\n<!-- figures -->\nold\n<!-- /figures -->\n{of_http}end\n")
    monkeypatch.setattr(note, "NOTE", path)
    note.record(done)
    text = path.read_text()
    assert text.startswith("# Note\n\n<!-- figures -->\n") and text.endswith(f"{of_http}end\n")
    assert "old" not in text
    assert "| descriptors | " in text and f"timers {done.done['timers']:,}" in text
    done.subject, done.summary = "http", "The servers had a lot."
    note.record(done)
    assert path.read_text().partition("<!-- figures of http -->")[0] in text
    assert "of http\n<!-- /" not in path.read_text() and "had a lot." in path.read_text()
