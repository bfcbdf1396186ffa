"""TLS tests run three times: on asyncio, and on penstock with either of its ways to OpenSSL.

Their certificates come from a fresh authority. A `Peer` is the other end of a connection, by hand:
an SSLObject over a bare socket, which can do what no well-behaved transport does.
"""

import asyncio
import socket
import ssl
import sys

import penstock
import pytest
import trustme

WAYS = {
    "asyncio": (asyncio.unix_events._UnixSelectorEventLoop, ""),
    "penstock": (penstock.new_event_loop, ""),
    "penstock-memorybio": (penstock.new_event_loop, "memorybio"),
}


@pytest.fixture(params=WAYS)
def new_loop(request, monkeypatch):
    since = request.node.get_closest_marker("asyncio_since")
    if since and request.param == "asyncio" and sys.version_info < since.args:
        pytest.skip("this version of asyncio does not do that yet")
    ours = request.node.get_closest_marker("penstock_only")
    if ours and request.param == "asyncio":
        pytest.skip(*ours.args)
    factory, engine = WAYS[request.param]
    monkeypatch.setenv("PENSTOCK_TLS", engine)
    return factory


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture
def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Recorder(asyncio.Protocol):
    """Remembers the calls; `then` maps the name of one to what is done in it."""

    def __init__(self, **then):
        loop = asyncio.get_running_loop()
        self.then = then
        self.calls = []
        self.data = bytearray()
        self.keep_open = None
        self.transport = None
        self.made = loop.create_future()
        self.lost = loop.create_future()
        self._arrival = asyncio.Event()

    def _note(self, name, *args):
        self.calls.append(name)
        if name in self.then:
            self.then[name](self, *args)

    def connection_made(self, transport):
        self.transport = transport
        self.made.set_result(transport)
        self._note("connection_made")

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self._arrival.set()
        self._note("data_received", data)

    def eof_received(self):
        self._note("eof_received")
        return self.keep_open

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")

    def connection_lost(self, exc):
        assert not self.lost.done(), "connection_lost() was called twice"
        self.lost.set_result(exc)
        self._arrival.set()
        self._note("connection_lost", exc)

    async def received(self, count):
        while len(self.data) < count:
            assert not self.lost.done(), f"lost after {len(self.data)} bytes"
            self._arrival.clear()
            await self._arrival.wait()
        return bytes(self.data)


@pytest.fixture
def recorder():
    return Recorder


class Peer:
    """The other end of a connection: TLS by hand over a socket that doesn't block."""

    def __init__(self, sock, context, **options):
        sock.setblocking(False)
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **options)

    async def flush(self):
        data = self.outgoing.read()
        if data:
            await self.loop.sock_sendall(self.sock, data)
        return data

    async def receive(self):
        """Bytes off the wire; false at the end of the stream."""
        data = await self.loop.sock_recv(self.sock, 65536)
        self.incoming.write(data)
        return data

    async def drive(self, call, *args):
        """An operation of the SSLObject, with what it needs from the wire."""
        while True:
            try:
                result = call(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                if not await self.receive():
                    raise EOFError from None
            else:
                await self.flush()
                return result

    async def handshake(self):
        await self.drive(self.tls.do_handshake)

    async def send(self, data):
        self.tls.write(data)
        await self.flush()

    async def read(self, count=65536):
        return await self.drive(self.tls.read, count)

    async def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            data += await self.read(count - len(data))
        return bytes(data)

    async def send_close_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        await self.flush()


@pytest.fixture
def peer():
    return Peer


@pytest.fixture
def pair():
    """Two connected TCP sockets, for a transport and for a peer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def serve(pair, server_context, client_context):
    """`await serve(protocol_factory)`: its transport is a server's end; (protocol, peer)."""

    async def serve(factory, **options):
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.connect_accepted_socket(factory, pair[0], ssl=server_context, **options)
        )
        peer = Peer(pair[1], client_context, server_hostname="localhost")
        await peer.handshake()
        _, protocol = await connecting
        return protocol, peer

    return serve


@pytest.fixture
def connect(pair, server_context, client_context):
    """`await connect(protocol_factory)`: its transport is a client's end; (protocol, peer)."""

    async def connect(factory, **options):
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.create_connection(
                factory, sock=pair[0], ssl=client_context, server_hostname="localhost", **options
            )
        )
        peer = Peer(pair[1], server_context, server_side=True)
        await peer.handshake()
        _, protocol = await connecting
        return protocol, peer

    return connect


@pytest.fixture
def reports():
    """`reports()` collects what the running loop's exception handler is told."""

    def start():
        seen = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        return seen

    return start
