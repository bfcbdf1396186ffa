"""Data in both directions, and that memory stays bounded whoever is slow."""

import asyncio
import contextlib

import pytest


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 65536, 3_000_000])
async def test_round_trip(serve, recorder, size):
    protocol, peer = await serve(recorder)
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sending = asyncio.ensure_future(peer.send(data))
    assert await protocol.received(size) == data
    await sending
    protocol.transport.write(data)
    assert await peer.read_exactly(size) == data
    protocol.transport.abort()
    await protocol.lost


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_what_was_written_has_left(serve, recorder, kind):
    protocol, peer = await serve(recorder)
    protocol.transport.write(kind(b"written"))
    await asyncio.sleep(0)  # it leaves in the turn in which it was written
    peer.incoming.write(peer.sock.recv(65536))
    assert b"written" in (peer.tls.read(100), peer.tls.read(100) if peer.incoming.pending else b"")
    assert protocol.transport.get_write_buffer_size() == 0
    protocol.transport.abort()
    await protocol.lost


async def test_a_buffer_may_be_changed_after_write(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.get_extra_info("socket").setsockopt(1, 7, 4096)  # SO_SNDBUF
    data = bytearray(b"a" * 2_000_000)
    protocol.transport.write(data)
    data[:] = b"b" * len(data)
    assert await peer.read_exactly(len(data)) == b"a" * len(data)
    protocol.transport.abort()
    await protocol.lost


@pytest.mark.parametrize("data", ["text", 7, None, [b"list"]])
async def test_write_refuses_what_is_not_bytes(serve, recorder, data):
    protocol, _ = await serve(recorder)
    with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got"):
        protocol.transport.write(data)
    protocol.transport.write(b"")
    protocol.transport.abort()
    await protocol.lost


async def test_writelines(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.writelines([b"one", bytearray(b"two"), memoryview(b"three"), b""])
    assert await peer.read_exactly(11) == b"onetwothree"
    protocol.transport.writelines(iter([b"x"] * 1000))
    assert await peer.read_exactly(1000) == b"x" * 1000
    protocol.transport.abort()
    await protocol.lost


@pytest.mark.penstock_only("asyncio makes a record of each piece")
async def test_writelines_makes_one_record(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.writelines([b"abc"] * 100)
    assert await peer.read(1000) == b"abc" * 100
    protocol.transport.abort()
    await protocol.lost


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size):
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()
        self.calls = []

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        assert sizehint >= 0
        return self.buffer

    def buffer_updated(self, count):
        assert 0 < count <= len(self.buffer)
        self.data += self.buffer[:count]

    def eof_received(self):
        self.calls.append("eof_received")

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
async def test_buffered_protocol(serve, size):
    protocol, peer = await serve(lambda: Buffered(size))
    data = bytes(range(256)) * 40
    await peer.send(data)
    await peer.send_close_notify()
    assert await protocol.lost is None
    assert protocol.data == data
    assert protocol.calls == ["eof_received"]


class BufferedInBytearray(Buffered):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(1000)
        return self.buffer


@pytest.mark.penstock_only("asyncio reads into copies of a bytearray's parts")
async def test_a_bytearray_of_a_buffered_protocol(serve):
    protocol, peer = await serve(lambda: BufferedInBytearray(1000))
    for part in (b"a" * 300, b"b" * 300):  # two records, which are read at once
        peer.tls.write(part)
    await peer.flush()
    await peer.send_close_notify()
    assert await protocol.lost is None
    assert protocol.data == b"a" * 300 + b"b" * 300


async def test_set_protocol(serve, recorder):
    protocol, peer = await serve(recorder)
    other = Buffered(100)
    protocol.transport.set_protocol(other)
    assert protocol.transport.get_protocol() is other
    await peer.send(b"data" * 100)
    await peer.send_close_notify()
    assert await other.lost is None
    assert other.data == b"data" * 100
    assert protocol.calls == ["connection_made"]


async def test_errors_of_the_protocol_are_fatal(serve, recorder, reports):
    def fail(*_):
        raise LookupError("in data_received")

    protocol, peer = await serve(lambda: recorder(data_received=fail))
    seen = reports()
    await peer.send(b"data")
    assert isinstance(await protocol.lost, LookupError)
    assert [context["message"] for context in seen] == ["Fatal error on SSL protocol"]


async def test_an_error_in_connection_made_ends_the_connection(
    pair, client_context, recorder, peer, server_context, reports
):
    def fail(*_):
        raise LookupError("in connection_made")

    seen = reports()
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.create_connection(
            lambda: recorder(connection_made=fail),
            sock=pair[0],
            ssl=client_context,
            server_hostname="localhost",
        )
    )
    with contextlib.suppress(EOFError, ConnectionResetError):
        await peer(pair[1], server_context, server_side=True).handshake()
    with pytest.raises(LookupError):
        await connecting
    assert [context["message"] for context in seen] == [
        "Fatal error: protocol.buffer_updated() call failed."
    ]


# ---- flow control ------------------------------------------------------------------------------


async def test_a_paused_reader_bounds_memory(serve, recorder):
    protocol, peer = await serve(recorder)
    transport = protocol.transport
    assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
    assert transport.is_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    size = 10_000_000
    sending = asyncio.ensure_future(peer.send(bytes(size)))
    for _ in range(300):
        await asyncio.sleep(0)
    below = transport._ssl_protocol._transport
    while below.is_reading() and not sending.done():
        await asyncio.sleep(0.001)
    assert not below.is_reading()
    assert not sending.done()
    assert protocol.data == b""
    assert 256 * 1024 <= transport.get_read_buffer_size() <= 512 * 1024
    transport.resume_reading()
    transport.resume_reading()
    assert await protocol.received(size) == bytes(size)
    await sending
    transport.abort()
    await protocol.lost


async def test_a_slow_peer_bounds_memory(serve, recorder):
    protocol, peer = await serve(recorder)
    transport = protocol.transport
    assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
    sent = 0
    while "pause_writing" not in protocol.calls:
        transport.write(bytes(65536))
        sent += 65536
        assert sent < 64_000_000
    assert 512 * 1024 <= transport.get_write_buffer_size() <= 640 * 1024
    below = transport._ssl_protocol._transport
    assert below.get_write_buffer_size() <= 64 * 1024 + 160 * 1024
    assert await peer.read_exactly(sent) == bytes(sent)
    assert transport.get_write_buffer_size() == 0
    assert protocol.calls.count("pause_writing") == protocol.calls.count("resume_writing") == 1
    transport.abort()
    await protocol.lost


async def test_limits(serve, recorder):
    protocol, _ = await serve(recorder)
    transport = protocol.transport
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    transport.set_write_buffer_limits(low=100)
    assert transport.get_write_buffer_limits() == (100, 400)
    transport.set_read_buffer_limits(high=1000, low=10)
    assert transport.get_read_buffer_limits() == (10, 1000)
    for name in ("set_write_buffer_limits", "set_read_buffer_limits"):
        with pytest.raises(ValueError, match="must be >= low"):
            getattr(transport, name)(high=1, low=2)
    transport.abort()
    await protocol.lost


@pytest.mark.penstock_only("asyncio pauses an empty transport, and resumes it with the next write")
async def test_a_high_mark_of_zero_means_non_empty(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.set_write_buffer_limits(high=0)
    protocol.transport.write(b"small")
    assert await peer.read_exactly(5) == b"small"
    assert protocol.calls == ["connection_made"]
    protocol.transport.abort()
    await protocol.lost


@pytest.mark.penstock_only("asyncio hands it to the transport below, whatever its size")
async def test_a_first_write_counts_at_once(serve, recorder):
    protocol, _ = await serve(recorder)
    protocol.transport.write(bytes(32 << 20))
    assert protocol.calls == ["connection_made", "pause_writing"]
    assert protocol.transport.get_write_buffer_size() > 0
    protocol.transport.abort()
    await protocol.lost


async def test_what_is_queued_before_close_arrives(serve, recorder):
    protocol, peer = await serve(recorder)
    size = 8_000_000
    protocol.transport.write(bytes(size))
    protocol.transport.close()
    assert await peer.read_exactly(size) == bytes(size)
    assert await peer.read() == b""
    await peer.send_close_notify()
    assert await protocol.lost is None


async def test_records_byte_by_byte(serve, recorder):
    protocol, peer = await serve(recorder)
    peer.tls.write(b"first")
    peer.tls.write(b"second")
    for byte in peer.outgoing.read():
        await peer.loop.sock_sendall(peer.sock, bytes([byte]))
        await asyncio.sleep(0)
    assert await protocol.received(11) == b"firstsecond"
    protocol.transport.abort()
    await protocol.lost


async def test_streams_under_back_pressure(server_context, client_context):
    size = 6_000_000

    async def handler(reader, writer):
        data = await reader.readexactly(size)
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handler, "127.0.0.1", 0, ssl=server_context) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        for _ in range(size // 10_000):
            writer.write(bytes(10_000))
            await writer.drain()
        assert await reader.readexactly(size) == bytes(size)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
