"""start_tls: plain connections made secure, on either side, also on top of TLS."""

import asyncio
import socket
import ssl

import pytest


@pytest.fixture
def sides(server_context, client_context):
    return {
        "client": (client_context, {"server_hostname": "localhost"}),
        "server": (server_context, {"server_side": True}),
    }


def of_peer(side):
    return "server" if side == "client" else "client"


async def plain(recorder, sock):
    return await asyncio.get_running_loop().connect_accepted_socket(recorder, sock)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_upgrade(pair, recorder, peer, sides, side):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    await loop.sock_sendall(pair[1], b"plain")
    await protocol.received(5)
    context, options = sides[side]
    upgrading = loop.create_task(loop.start_tls(transport, protocol, context, **options))
    await asyncio.sleep(0)
    far_context, far_options = sides[of_peer(side)]
    far = peer(pair[1], far_context, **far_options)
    await far.handshake()
    secure = await upgrading
    assert secure.get_extra_info("ssl_object").version()
    assert secure.get_protocol() is protocol
    secure.write(b"secure")
    assert await far.read_exactly(6) == b"secure"
    await far.send(b"as well")
    assert await protocol.received(12) == b"plainas well"
    assert protocol.calls.count("connection_made") == 1
    secure.close()
    await far.drive(far.tls.unwrap)
    assert await protocol.lost is None


@pytest.mark.penstock_only("asyncio delivers it first")
async def test_whoever_waits_has_a_turn_before_the_first_data(
    pair, recorder, peer, server_context, client_context
):
    loop = asyncio.get_running_loop()
    seen = []
    transport, protocol = await plain(
        lambda: recorder(data_received=lambda *_: seen.append(upgrading.done())), pair[0]
    )
    upgrading = loop.create_task(
        loop.start_tls(transport, protocol, server_context, server_side=True)
    )
    far = peer(pair[1], client_context, server_hostname="localhost")
    while True:
        try:
            far.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await far.flush()
            await far.receive()
    await far.send(b"with the last of the handshake")
    secure = await upgrading
    await protocol.received(30)
    assert seen == [True]
    secure.abort()
    await protocol.lost


async def test_tls_in_tls(pair, recorder, server_context, client_context):
    loop = asyncio.get_running_loop()

    async def side(sock, context, **options):
        transport, protocol = await plain(recorder, sock)
        outer = await loop.start_tls(transport, protocol, context, **options)
        inner = await loop.start_tls(outer, protocol, context, **options)
        return inner, protocol

    for sock in pair:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    (near, near_protocol), (far, far_protocol) = await asyncio.gather(
        side(pair[0], client_context, server_hostname="localhost"),
        side(pair[1], server_context, server_side=True),
    )
    assert near.get_extra_info("socket").fileno() == pair[0].fileno()
    for size in (5, 65536, 2_000_000):
        near_protocol.data.clear()
        far_protocol.data.clear()
        near.write(bytes(size))
        await far_protocol.received(size)
        far.write(bytes(size))
        await near_protocol.received(size)
    near.close()
    assert await near_protocol.lost is None
    assert await far_protocol.lost is None


async def test_tls_in_tls_with_a_buffered_reader(pair, recorder, server_context, client_context):
    loop = asyncio.get_running_loop()

    async def side(sock, context, **options):
        transport, protocol = await plain(recorder, sock)
        outer = await loop.start_tls(transport, protocol, context, **options)
        return await loop.start_tls(outer, protocol, context, **options), protocol

    (near, near_protocol), (far, far_protocol) = await asyncio.gather(
        side(pair[0], client_context, server_hostname="localhost"),
        side(pair[1], server_context, server_side=True),
    )
    far.pause_reading()
    size = 20_000_000
    near.write(bytes(size))
    for _ in range(50):
        await asyncio.sleep(0)
    assert far_protocol.data == b""
    far.resume_reading()
    await far_protocol.received(size)
    near.abort()
    await near_protocol.lost
    await far_protocol.lost


async def test_streams(server_context, client_context):
    async def handler(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go on\n")
        await writer.start_tls(server_context)
        writer.write(b"hello " + await reader.readline())
        writer.close()

    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go on\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        assert writer.get_extra_info("cipher")
        writer.write(b"world\n")
        assert await reader.read() == b"hello world\n"
        writer.close()
        await writer.wait_closed()


@pytest.mark.penstock_only("asyncio leaves them in the reader, before 3.14.3")
async def test_bytes_that_the_reader_has_already(pair, peer, server_context, client_context):
    """The peer's first TLS data may come together with the last plain data."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, pair[0])
    far = peer(pair[1], client_context, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        far.tls.do_handshake()
    await loop.sock_sendall(pair[1], b"STARTTLS\n" + far.outgoing.read())
    assert await reader.readline() == b"STARTTLS\n"
    upgrading = loop.create_task(
        loop.start_tls(transport, protocol, server_context, server_side=True)
    )
    await asyncio.sleep(0)
    await far.handshake()
    secure = await upgrading
    await far.send(b"secure")
    assert await reader.readexactly(6) == b"secure"
    secure.abort()


async def test_what_cannot_be_upgraded(pair, recorder, client_context):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    with pytest.raises(TypeError, match="sslcontext is expected to be an instance"):
        await loop.start_tls(transport, protocol, None)
    with pytest.raises(TypeError, match="is not supported by start_tls"):
        await loop.start_tls(asyncio.Transport(), protocol, client_context)
    with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number"):
        await loop.start_tls(transport, protocol, client_context, ssl_handshake_timeout=0)
    transport.abort()
    await protocol.lost


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_connection_that_was_closed_before(pair, recorder, client_context, how):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    getattr(transport, how)()
    upgrading = loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
    assert await upgrading is None


async def test_the_context_is_where_programs_look_for_it(serve, recorder):
    protocol, _ = await serve(recorder)
    context = protocol.transport.get_extra_info("sslcontext")
    assert protocol.transport._ssl_protocol._sslcontext is context
    assert protocol.transport._ssl_protocol._app_transport is protocol.transport
    assert "SSL" in type(protocol.transport).__name__
    protocol.transport.abort()
    await protocol.lost


async def test_a_failing_handshake_closes_the_transport(pair, recorder, client_context):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    pair[1].sendall(b"this is no TLS, and never was")
    with pytest.raises(ssl.SSLError):
        await loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
    assert transport.is_closing()
    assert isinstance(await protocol.lost, ssl.SSLError)


async def test_handshake_timeout(pair, recorder, client_context):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    with pytest.raises(ConnectionAbortedError, match="taking longer than 0.05 seconds"):
        await loop.start_tls(
            transport,
            protocol,
            client_context,
            server_hostname="localhost",
            ssl_handshake_timeout=0.05,
        )
    assert transport.is_closing()


@pytest.mark.parametrize("turns", range(4))
async def test_cancelled(pair, recorder, client_context, turns):
    loop = asyncio.get_running_loop()
    transport, protocol = await plain(recorder, pair[0])
    upgrading = loop.create_task(
        loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    upgrading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upgrading
    transport.close()
    while pair[0].fileno() >= 0:
        await asyncio.sleep(0)


class ForeignTransport(asyncio.Transport):
    """Somebody else's transport over a socket that can be upgraded, as asyncio's rules have it."""

    _start_tls_compatible = True

    def __init__(self, loop, sock, protocol):
        super().__init__()
        self.loop, self.sock, self.protocol = loop, sock, protocol
        loop.add_reader(sock, self.read)

    def read(self):
        data = self.sock.recv(65536)
        if not data:
            self.close()
        elif isinstance(self.protocol, asyncio.BufferedProtocol):
            view = self.protocol.get_buffer(len(data))
            view[: len(data)] = data
            self.protocol.buffer_updated(len(data))
        else:
            self.protocol.data_received(data)

    def write(self, data):
        self.sock.sendall(data)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def pause_reading(self):
        self.loop.remove_reader(self.sock)

    def resume_reading(self):
        self.loop.add_reader(self.sock, self.read)

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return self.sock is None

    def close(self):
        self._force_close(None)

    abort = close

    def _force_close(self, exc):
        if self.sock is not None:
            self.loop.remove_reader(self.sock)
            self.sock = None
            self.loop.call_soon(self.protocol.connection_lost, exc)


async def test_a_foreign_transport(pair, recorder, peer, server_context, client_context):
    loop = asyncio.get_running_loop()
    protocol = recorder()
    transport = ForeignTransport(loop, pair[0], protocol)
    upgrading = loop.create_task(
        loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
    )
    far = peer(pair[1], server_context, server_side=True)
    await far.handshake()
    secure = await upgrading
    secure.write(b"ping")
    assert await far.read_exactly(4) == b"ping"
    await far.send(b"pong")
    assert await protocol.received(4) == b"pong"
    secure.abort()
    await protocol.lost
