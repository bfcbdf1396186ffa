"""TCP and Unix connections: streams, protocols, sockets, and all the ways in which they end."""

import asyncio
import contextlib
import os
import random
import socket

from tests.soak.ground import LOST, MORE_THAN_FITS, Ground, close, reset

from . import kind

WAYS = ("tcp", "unix", "tls")
SIZES = (1, 10, 500, 4000, 70_000, 300_000)


@kind(weight=40)
async def echo(ground: Ground, rng: random.Random) -> None:
    async with ground.connection(rng.choice(WAYS)) as (reader, writer):
        writer.write(b"echo\n")
        for _ in range(rng.randint(1, 5)):
            data = ground.data[: rng.choice(SIZES)]
            writer.writelines([data[:100], data[100:]])
            answer, _ = await asyncio.gather(reader.readexactly(len(data)), writer.drain())
            assert answer == data


class Counting(asyncio.Protocol):
    def __init__(self, size: int) -> None:
        self.left = size
        self.over = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.count(len(data))

    def count(self, size: int) -> None:
        self.left -= size
        if self.left == 0 and not self.over.done():
            self.over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.cancel()


class CountingBuffered(Counting, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(5000)
        return self.buffer

    buffer_updated = Counting.count


@kind(weight=40)
async def echo_to_protocol(ground: Ground, rng: random.Random) -> None:
    size = rng.choice(SIZES)
    made = rng.choice((Counting, CountingBuffered))
    address, options = ground.address, {}
    if rng.random() < 0.3:
        address, options = ground.tls_address, {"ssl": ground.client_tls}
        options["server_hostname"] = "localhost"
    transport, protocol = await ground.loop.create_connection(
        lambda: made(size), *address, **options
    )
    try:
        transport.write(b"echo\n" + ground.data[:size])
        transport.pause_reading()
        await asyncio.sleep(0)
        transport.resume_reading()
        await protocol.over
    finally:
        rng.choice((transport.close, transport.abort))()


@kind()
async def half_close(ground: Ground, rng: random.Random) -> None:
    async with ground.connection(rng.choice(("tcp", "unix"))) as (reader, writer):
        data = ground.data[: rng.choice(SIZES)]
        writer.write(b"all\n" + data)
        writer.write_eof()
        assert await reader.read() == data


@kind()
async def reset_the_server(ground: Ground, rng: random.Random) -> None:
    async with ground.connection(rng.choice(WAYS)) as (_, writer):
        writer.write(b"echo\n" + ground.data[: rng.choice((*SIZES, MORE_THAN_FITS))])
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(0)
        reset(writer)


@kind(expects=LOST)
async def be_reset(ground: Ground, rng: random.Random) -> None:
    size = rng.choice((*SIZES, MORE_THAN_FITS))
    async with ground.connection(rng.choice(WAYS)) as (reader, writer):
        writer.write(b"reset %d\n" % size)
        while await reader.read(50_000):
            writer.write(b"x")


@kind()
async def read_slowly(ground: Ground, rng: random.Random) -> None:
    size = rng.choice((70_000, MORE_THAN_FITS))
    async with ground.connection(rng.choice(WAYS)) as (reader, writer):
        writer.write(b"flood %d\n" % size)
        for _ in range(rng.randint(1, 8)):
            await reader.readexactly(8192)
            await asyncio.sleep(rng.random() / 1000)
        if rng.random() < 0.5:
            await reader.read()


@kind()
async def write_to_a_slow_reader(ground: Ground, rng: random.Random) -> None:
    size = rng.choice((1 << 17, MORE_THAN_FITS))
    async with ground.connection(rng.choice(WAYS)) as (reader, writer):
        writer.write(b"slow %d\n" % size)
        for begin in range(0, size, 1 << 16):
            writer.write(ground.data[begin : begin + (1 << 16)])
            await writer.drain()
        assert await reader.readline() == b"done\n"


@kind()
async def be_refused(ground: Ground, rng: random.Random) -> None:
    try:
        await asyncio.open_connection(*ground.closed.getsockname())
    except ConnectionRefusedError:
        return
    raise AssertionError("connected to nobody")


@kind()
async def serve(ground: Ground, rng: random.Random) -> None:
    """A server of one's own, which may be closed before its connections."""
    path = str(ground.folder / f"{rng.random()}")
    is_local = rng.random() < 0.5
    if is_local:
        server = await asyncio.start_unix_server(ground.converse, path)
    else:
        server = await asyncio.start_server(ground.converse, "127.0.0.1", 0, backlog=20)
        address = server.sockets[0].getsockname()
    writers = []
    try:
        for _ in range(rng.randint(0, 4)):
            if is_local:
                reader, writer = await asyncio.open_unix_connection(path)
            else:
                reader, writer = await asyncio.open_connection(*address)
            writers.append(writer)
            writer.write(b"echo\nhello\n")
            assert await reader.readline() == b"hello\n"
        if rng.random() < 0.5:
            server.close()
        for writer in writers:
            await close(writer)
        server.close()
        await server.wait_closed()
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        if is_local:
            with contextlib.suppress(FileNotFoundError):  # 3.13's servers remove it
                os.unlink(path)


@kind()
async def sockets(ground: Ground, rng: random.Random) -> None:
    data = ground.data[: rng.choice(SIZES)]
    with socket.socket() as sock:
        sock.setblocking(False)
        await ground.loop.sock_connect(sock, ground.address)
        await ground.loop.sock_sendall(sock, b"all\n" + data)
        sock.shutdown(socket.SHUT_WR)
        count = 0
        while received := await ground.loop.sock_recv(sock, 10_000):
            count += len(received)
        assert count == len(data)


@kind()
async def accept(ground: Ground, rng: random.Random) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        accepting = asyncio.create_task(ground.loop.sock_accept(listening))
        try:
            with socket.create_connection(listening.getsockname()) as near:
                near.setblocking(False)
                far, _ = await accepting
                with far:
                    await ground.loop.sock_sendall(far, b"hello")
                    buffer = bytearray(10)
                    assert await ground.loop.sock_recv_into(near, buffer) == 5
        finally:
            accepting.cancel()
            if accepting.done() and not accepting.cancelled():
                accepting.result()[0].close()
            await asyncio.wait([accepting])


@kind()
async def watch(ground: Ground, rng: random.Random) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        readable, writable = asyncio.Event(), asyncio.Event()
        ground.loop.add_reader(near, readable.set)
        ground.loop.add_writer(near, writable.set)
        try:
            await writable.wait()
            ground.loop.remove_writer(near)
            far.send(b"x")
            await readable.wait()
        finally:
            ground.loop.remove_reader(near)
            ground.loop.remove_writer(near)
