"""Pipes of every sort, a Recorder for transports over them, and no fd left behind."""

import asyncio
import os
import pty
import socket
import tty

import pytest

SORTS = ["pipe", "fifo", "socket", "terminal"]


def open_ends(sort, directory):
    """File descriptors: one to read, one to write."""
    if sort == "pipe":
        return os.pipe()
    if sort == "fifo":
        path = directory / "fifo"
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(path, os.O_WRONLY)
        os.set_blocking(reading, True)
        return reading, writing
    if sort == "socket":
        near, far = socket.socketpair()
        return near.detach(), far.detach()
    master, slave = pty.openpty()
    tty.setraw(slave)
    return slave, master


@pytest.fixture
def ends(request, tmp_path):
    """`ends(sort)`: a file object to read and one to write, unbuffered, closed after the test."""
    files = []

    def make(sort="pipe"):
        reading, writing = open_ends(sort, tmp_path)
        files.extend([open(reading, "rb", 0), open(writing, "wb", 0)])  # noqa: SIM115
        return files[-2:]

    yield make
    for file in files:
        file.close()


class Recorder(asyncio.Protocol):
    """Remembers the calls; `then` maps the name of one to what is done in it."""

    def __init__(self, **then):
        self.then = then
        self.calls = []
        self.data = bytearray()
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()

    def _note(self, name, *args):
        self.calls.append(name)
        if name in self.then:
            return self.then[name](self, *args)
        return None

    def connection_made(self, transport):
        self.transport = transport
        self._note("connection_made")

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self._note("data_received")

    def eof_received(self):
        return self._note("eof_received")

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")

    def connection_lost(self, exc):
        assert not self.lost.done(), "connection_lost() was called twice"
        self.lost.set_result(exc)
        self._note("connection_lost")


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def reader():
    """`await reader(file, **then)`: a transport that reads, and its Recorder."""

    async def connect(file, **then):
        loop = asyncio.get_running_loop()
        return await loop.connect_read_pipe(lambda: Recorder(**then), file)

    return connect


@pytest.fixture
def writer():
    """`await writer(file, **then)`: a transport that writes, and its Recorder."""

    async def connect(file, **then):
        loop = asyncio.get_running_loop()
        return await loop.connect_write_pipe(lambda: Recorder(**then), file)

    return connect


@pytest.fixture
def reports():
    """`reports()` collects what the running loop's exception handler is told."""

    def start():
        seen = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        return seen

    return start


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(name="until")
def until_fixture():
    return until
