import asyncio
import contextlib
import gc
import os
import signal
import sys
from pathlib import Path

import penstock
import pytest


def children():
    """The processes that this one has started, zombies included."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def _no_child_is_left():
    yield
    gc.collect()
    left = children()
    for pid in left:  # not the next test's business
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not left, "children are left"


@pytest.fixture(params=["pidfd", "thread"])
def way(request, monkeypatch, new_loop):
    """How penstock hears of a child's end: as it does here, and as where there are no pidfds."""
    if request.param == "thread" and new_loop is not penstock.new_event_loop:
        pytest.skip("asyncio's own business")

    def refuse(*args):
        raise PermissionError

    if request.param == "thread":
        monkeypatch.setattr(penstock.Loop, "_watch_child", refuse)


class Recorder(asyncio.SubprocessProtocol):
    """Remembers the calls, in order, and the bytes of each pipe."""

    def __init__(self):
        self.calls = []
        self.data = {1: b"", 2: b""}
        self.lost = asyncio.get_running_loop().create_future()
        self.exited = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("connection_made")

    def pipe_data_received(self, fd, data):
        self.data[fd] += data
        self.calls.append(("data", fd))

    def pipe_connection_lost(self, fd, exc):
        self.calls.append(("lost", fd))

    def process_exited(self):
        self.calls.append("exited")
        self.exited.set_result(self.transport.get_returncode())

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        self.lost.set_result(exc)


@pytest.fixture
def execute():
    """`await execute(*args)`: the transport and a Recorder."""

    async def execute(*args, **options):
        return await asyncio.get_running_loop().subprocess_exec(Recorder, *args, **options)

    return execute


def python(code, *args):
    return (sys.executable, "-S", "-c", code, *args)


def ends(pid):
    """Wait until a child has ended, and leave it to others to reap it."""
    with contextlib.suppress(ChildProcessError):  # they have already
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
