import asyncio
import socket
import sys

import pytest


class Recorder(asyncio.DatagramProtocol):
    """Remembers the calls; `then` maps the name of one to what is done in it."""

    def __init__(self, **then):
        self.then = then
        self.calls = []
        self.received = asyncio.Queue()
        self.errors = asyncio.Queue()
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()

    def _note(self, name, *args):
        self.calls.append(name)
        if name in self.then:
            self.then[name](self, *args)

    def connection_made(self, transport):
        self.transport = transport
        self._note("connection_made")

    def datagram_received(self, data, addr):
        assert type(data) is bytes
        self.received.put_nowait((data, addr))
        self._note("datagram_received", data, addr)

    def error_received(self, exc):
        self.errors.put_nowait(exc)
        self._note("error_received", exc)

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
def endpoint():
    """`await endpoint(**then, …)`: a transport and its Recorder, bound to loopback by default."""

    async def endpoint(then=None, **options):
        if not options:
            options = {"local_addr": ("127.0.0.1", 0)}
        return await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Recorder(**(then or {})), **options
        )

    return endpoint


@pytest.fixture
def peer():
    """A plain UDP socket of loopback, which blocks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def closed_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


@pytest.fixture
def full(tmp_path, endpoint):
    """`await full(**then)`: a connected transport whose peer takes no more, and the peer.

    A Unix datagram socket's sender waits for its receiver; UDP's would drop instead.
    """
    made = []

    async def full(then=None, then_send=b"full"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.append(sock)
        path = str(tmp_path / f"peer{len(made)}")
        sock.bind(path)
        sock.setblocking(False)
        transport, protocol = await endpoint(then, family=socket.AF_UNIX, remote_addr=path)
        sent = 0
        while not transport.get_write_buffer_size():
            transport.sendto(then_send)
            sent += 1
        return transport, protocol, sock, sent

    yield full
    for sock in made:
        sock.close()


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


@pytest.fixture
def counts(new_loop):
    """Keeps out the versions of asyncio that count a datagram's header in, but not out again."""
    stock = asyncio.selector_events._SelectorDatagramTransport
    is_stock = new_loop is asyncio.unix_events._UnixSelectorEventLoop
    if is_stock and sys.version_info >= (3, 13) and not hasattr(stock, "_header_size"):
        pytest.skip("this version of asyncio miscounts its queue")
