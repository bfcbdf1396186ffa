import asyncio
import socket

import pytest


def tcp_pair():
    """Two connected sockets on loopback; the second one blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        near.connect(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.settimeout(10)
    return near, far


@pytest.fixture
def pair():
    """A socket for a transport, which will close it, and its peer."""
    near, far = tcp_pair()
    with near, far:
        yield near, far


class Recorder(asyncio.Protocol):
    """Remembers the calls; `then` maps the name of one to what is done in it."""

    def __init__(self, **then):
        self.then = then
        self.calls = []
        self.data = bytearray()
        self.keep_open = None
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
        self._note("data_received", data)

    def eof_received(self):
        self._note("eof_received")
        return self.keep_open

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        assert not self.lost.done(), "connection_lost() was called twice"
        self.lost.set_result(exc)
        if "connection_lost" in self.then:
            self.then["connection_lost"](self, exc)


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def connect(pair):
    """`await connect(**then)`: a transport over the pair's first socket, and its Recorder."""

    async def connect(protocol_factory=None, **then):
        loop = asyncio.get_running_loop()
        factory = protocol_factory or (lambda: Recorder(**then))
        return await loop.create_connection(factory, sock=pair[0])

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
