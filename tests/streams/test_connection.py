"""Streams over sockets: writing, drain(), closing, TLS, and servers."""

import asyncio
import gc
import socket
import warnings
import weakref

import pytest

from tests.certificates import contexts


@pytest.fixture
def connect(streams):
    """`async with connect(handle) as (reader, writer)`: the client of a server of its own."""

    class Connect:
        def __init__(self, handle, **options):
            self.handle = handle
            self.options = options

        async def __aenter__(self):
            self.server = await streams.start_server(self.handle, "127.0.0.1", 0)
            address = self.server.sockets[0].getsockname()
            self.reader, self.writer = await streams.open_connection(*address, **self.options)
            return self.reader, self.writer

        async def __aexit__(self, *_):
            self.writer.transport.abort()
            self.server.close()
            await self.server.wait_closed()

    return Connect


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def end(writer, server):
    for each in (writer, server):
        each.close()
        await each.wait_closed()


def pair(streams):
    """A reader and a writer over one end of a socket pair, and the other end."""
    near, far = socket.socketpair()
    return streams.open_connection(sock=near), far


async def test_echo(connect):
    async with connect(echo) as (reader, writer):
        for size in (1, 1000, 70_000, 1_000_000):
            writer.write(bytes([size % 251]) * size)
            await writer.drain()
            assert await reader.readexactly(size) == bytes([size % 251]) * size
        writer.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        assert await reader.readexactly(3) == b"abc"
        assert writer.can_write_eof()
        writer.write_eof()
        assert await reader.read() == b""


async def test_unix(streams, tmp_path):
    server = await streams.start_unix_server(echo, tmp_path / "socket")
    reader, writer = await streams.open_unix_connection(str(tmp_path / "socket"))
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    await end(writer, server)


async def test_tls(streams):
    client, server_side = contexts()
    server = await streams.start_server(echo, "127.0.0.1", 0, ssl=server_side)
    address = server.sockets[0].getsockname()
    reader, writer = await streams.open_connection(
        *address, ssl=client, server_hostname="localhost"
    )
    for size in (1, 1000, 70_000, 300_000):
        writer.write(b"x" * size)
        await writer.drain()
        assert await reader.readexactly(size) == b"x" * size
    await end(writer, server)


async def test_start_tls(streams):
    client, server_side = contexts()

    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.start_tls(server_side)
        await echo(reader, writer)

    server = await streams.start_server(upgrade, "127.0.0.1", 0)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go\n"
    await writer.start_tls(client, server_hostname="localhost")
    assert writer.get_extra_info("sslcontext") is client
    writer.write(b"secret\n")
    assert await reader.readline() == b"secret\n"
    await end(writer, server)


async def test_drain_costs_no_turn(streams):
    opening, far = pair(streams)
    _, writer = await opening
    writer.write(b"x")
    with far, pytest.raises(StopIteration):
        writer.drain().send(None)
    writer.close()
    await writer.wait_closed()


async def test_drain_waits_for_room(streams):
    opening, far = pair(streams)
    _, writer = await opening
    writer.transport.set_write_buffer_limits(high=1000)
    writer.write(b"x" * 3_000_000)
    drains = [asyncio.ensure_future(writer.drain()) for _ in range(3)]
    drains[1].cancel()
    await asyncio.sleep(0)
    assert not drains[0].done()
    loop = asyncio.get_running_loop()
    far.setblocking(False)
    received = 0
    with far:
        while received < 3_000_000:
            received += len(await loop.sock_recv(far, 2**20))
    await drains[0]
    await drains[2]
    assert drains[1].cancelled()
    writer.close()
    await writer.wait_closed()


async def test_drain_hears_of_a_lost_connection(streams):
    opening, far = pair(streams)
    reader, writer = await opening
    writer.transport.set_write_buffer_limits(high=1000)
    writer.write(b"x" * 3_000_000)
    drain = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    far.close()
    with pytest.raises(ConnectionError):
        await drain
    with pytest.raises(ConnectionError):
        await writer.drain()
    with pytest.raises(ConnectionError):
        await reader.read(1)
    with pytest.raises(ConnectionError):
        await writer.wait_closed()


async def test_drain_after_close(streams):
    opening, far = pair(streams)
    with far:
        _, writer = await opening
        writer.close()
        assert writer.is_closing()
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            await writer.drain()
        await writer.wait_closed()
        await writer.wait_closed()


async def test_closed_by_the_peer(streams):
    opening, far = pair(streams)
    reader, writer = await opening
    far.sendall(b"last")
    far.close()
    assert await reader.read() == b"last"
    assert reader.at_eof()
    writer.close()
    await writer.wait_closed()


async def test_extra_info(connect):
    async with connect(lambda _, writer: writer.close()) as (_, writer):
        assert writer.get_extra_info("peername") == writer.transport.get_extra_info("peername")
        assert writer.get_extra_info("nothing", 5) == 5
        assert writer.get_extra_info(name="nothing", default=6) == 6
        assert writer.get_extra_info("nothing") is None


async def test_what_a_handler_raises_is_reported(connect):
    loop = asyncio.get_running_loop()
    reported = loop.create_future()
    loop.set_exception_handler(lambda _, context: reported.set_result(context))

    async def fail(reader, writer):
        raise ValueError("wrong")

    async with connect(fail) as (reader, _):
        context = await reported
        assert context["message"] == "Unhandled exception in client_connected_cb"
        assert isinstance(context["exception"], ValueError)
        assert await reader.read() == b""


async def test_what_a_plain_handler_raises_is_reported_as_this_version_does(connect):
    """Some close the connection then, some leave it open."""
    loop = asyncio.get_running_loop()
    reported = loop.create_future()
    loop.set_exception_handler(lambda _, context: reported.set_result(context))
    begun = []

    def fail(reader, writer):
        begun.append(writer.transport)
        raise ValueError("wrong")

    async with connect(fail) as (reader, _):
        context = await reported
        (transport,) = begun
        assert isinstance(context["exception"], ValueError)
        closes = context["message"] == "Unhandled exception in client_connected_cb"
        assert closes or context["message"].startswith("Exception in callback ")
        assert transport.is_closing() == closes
        assert context.get("transport") is (transport if closes else None)
        transport.abort()
        assert await reader.read() == b""


async def test_a_handler_that_is_cancelled_is_reported_as_this_version_does(connect):
    """Some close the connection without a word, some raise in the callback."""
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
    begun = loop.create_future()

    async def wait(reader, writer):
        begun.set_result((asyncio.current_task(), writer.transport))
        await reader.read()

    async with connect(wait):
        task, transport = await begun
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert transport.is_closing() or reported
        transport.abort()
    for message in reported:
        assert "StreamReaderProtocol.connection_made.<locals>.callback(" in message
        assert "streams.py:" in message


async def test_a_callback_that_is_no_coroutine(connect):
    def hello(reader, writer):
        writer.write(b"hello")
        writer.close()

    async with connect(hello) as (reader, _):
        assert await reader.read() == b"hello"


async def test_what_floods_is_held_back(streams):
    """A reader that nobody reads takes no more than twice its limit and one read."""
    near, far = socket.socketpair()
    reader, writer = await streams.open_connection(sock=near, limit=1000)
    far.setblocking(False)
    with far:
        await asyncio.sleep(0)
        far.send(b"x" * 100_000)
        while not reader._paused:
            await asyncio.sleep(0)
        assert not writer.transport.is_reading()
        size = len(reader._buffer)
        assert len(await reader.readexactly(size)) == size
        assert writer.transport.is_reading()
    writer.transport.abort()


async def test_a_writer_that_is_dropped_warns_and_closes(streams):
    opening, far = pair(streams)
    far.setblocking(False)
    _, writer = await opening
    with far, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Nobody has it but its protocol, whose transport the loop holds while it reads.
        writer._protocol._stream_writer = None
        del writer
        gc.collect()
        assert any("unclosed" in str(warning.message) for warning in caught)
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""


async def test_nobody_has_the_reader(streams):
    """The protocol does not keep it: what comes is let go."""
    opening, far = pair(streams)
    reader, writer = await opening
    gone = weakref.ref(reader)
    writer._reader = None
    del reader
    gc.collect()
    assert gone() is None
    assert writer._protocol._stream_reader is None
    with far:
        far.sendall(b"data")
        far.shutdown(socket.SHUT_WR)
        for _ in range(3):
            await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()


async def test_protocol_subclasses(streams):
    """aiosmtpd's way: the protocol's own methods come first, and it makes its writer itself."""

    class Protocol(streams.StreamReaderProtocol):
        def __init__(self, loop):
            self.calls = []
            self.lines = []
            super().__init__(
                streams.StreamReader(loop=loop), client_connected_cb=self.connected, loop=loop
            )

        def connection_made(self, transport):
            self.calls.append("made")
            super().connection_made(transport)

        def data_received(self, data):
            self.calls.append(data)
            super().data_received(data)

        def eof_received(self):
            self.calls.append("eof")
            return super().eof_received()

        def connection_lost(self, exc):
            self.calls.append("lost")
            super().connection_lost(exc)

        def connected(self, reader, writer):
            self.writer = writer
            self._task = self._loop.create_task(self.serve(reader))

        async def serve(self, reader):
            async for line in reader:
                self.lines.append(line)
            self.writer.close()

    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    protocol = Protocol(loop)
    await loop.connect_accepted_socket(lambda: protocol, near)
    with far:
        far.sendall(b"one\ntwo\n")
        far.shutdown(socket.SHUT_WR)
        await protocol._get_close_waiter(None)
    assert protocol.lines == [b"one\n", b"two\n"]
    assert protocol.calls == ["made", b"one\ntwo\n", "eof", "lost"]


async def test_a_new_protocol_for_an_old_connection(streams):
    """set_protocol() from and to a stream's."""

    class Line(asyncio.Protocol):
        def data_received(self, data):
            got.set_result(data)

    loop = asyncio.get_running_loop()
    got = loop.create_future()
    opening, far = pair(streams)
    reader, writer = await opening
    own = writer.transport.get_protocol()
    with far:
        far.sendall(b"one")
        assert await reader.read(10) == b"one"
        writer.transport.set_protocol(Line())
        far.sendall(b"two")
        assert await got == b"two"
        writer.transport.set_protocol(own)
        far.sendall(b"three")
        assert await reader.read(10) == b"three"
    writer.transport.abort()


async def test_pausing_twice_is_an_error(streams):
    loop = asyncio.get_running_loop()
    protocol = streams.StreamReaderProtocol(streams.StreamReader(loop=loop), loop=loop)
    with pytest.raises(AssertionError):
        protocol.resume_writing()
    protocol.pause_writing()
    assert protocol._paused
    with pytest.raises(AssertionError):
        protocol.pause_writing()
    protocol.resume_writing()
    assert not protocol._paused


async def test_the_future_of_a_writer_is_done(streams):
    opening, far = pair(streams)
    with far:
        _, writer = await opening
        assert writer._complete_fut.done()
        writer.transport.abort()
