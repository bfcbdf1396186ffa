import asyncio
import contextlib
import contextvars
import os
import random
import socket
import time

import pytest

variable = contextvars.ContextVar("variable", default="unset")


async def send_all(sock, data):
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def test_pausing_and_resuming(connect, pair, until):
    transport, protocol = await connect()
    assert transport.is_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    pair[1].sendall(b"x")
    for _ in range(20):
        await asyncio.sleep(0)
    assert protocol.data == b""
    transport.resume_reading()
    transport.resume_reading()
    assert transport.is_reading()
    await until(lambda: protocol.data)
    transport.close()
    assert not transport.is_reading()
    transport.pause_reading()
    transport.resume_reading()
    await protocol.lost
    transport.resume_reading()


async def test_pausing_in_connection_made_and_in_data_received(connect, pair, until):
    transport, protocol = await connect(
        connection_made=lambda p: p.transport.pause_reading(),
        data_received=lambda p, _: p.transport.pause_reading(),
    )
    pair[1].sendall(b"a")
    for _ in range(20):
        await asyncio.sleep(0)
    assert protocol.data == b""
    transport.resume_reading()
    await until(lambda: protocol.data)
    pair[1].sendall(b"b")
    for _ in range(20):
        await asyncio.sleep(0)
    assert protocol.data == b"a"
    transport.resume_reading()
    await until(lambda: len(protocol.data) == 2)
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("keeps", [False, True])
async def test_reads_of_every_size_arrive_unchanged(connect, pair, until, keeps):
    """What was received stays as it is, whether or not the memory of a read serves again."""
    kept = []
    transport, protocol = await connect(
        data_received=lambda _, data: kept.append((data, hash(data))) if keeps else None
    )
    source = random.Random(7)
    sent = bytearray()
    for size in [1, 10, 1000, 65536, 65536, 65536, 100, 65536, 300_000, 20_000, 16384, 5, 700_000]:
        data = source.randbytes(size)
        sent += data
        await send_all(pair[1], data)
        await until(lambda: len(protocol.data) == len(sent))
    assert protocol.data == sent
    if keeps:
        assert b"".join(data for data, _ in kept) == sent
        assert all(hash(bytes(bytearray(data))) == was for data, was in kept)
    transport.close()
    await protocol.lost


async def test_what_is_kept_stays_whatever_comes_after_it(connect, pair, until):
    """Each read's memory serves again, but for what somebody keeps, for however long."""
    kept = {}
    transport, protocol = await connect(
        data_received=lambda _, data: kept.setdefault(len(kept), (data, bytes(bytearray(data))))
    )
    source = random.Random(8)
    sent = 0
    for turn in range(120):
        data = source.randbytes(source.choice([40_000, 65536, 130_000]))
        sent += len(data)
        await send_all(pair[1], data)
        await until(lambda: len(protocol.data) == sent)
        for number in source.sample(sorted(kept), len(kept) // 3):
            if number % 5:
                kept[number] = None
        assert all(each is None or each[0] == each[1] for each in kept.values()), turn
    transport.close()
    await protocol.lost


def test_a_loop_that_is_turned_by_hand_reads_from_every_connection(loop):
    """Each run is of one turn, which reads much and wakes somebody."""

    async def count(sock, received):
        reader, _ = await asyncio.open_connection(sock=sock, limit=2**20)
        while data := await reader.read(2**20):
            received.append(len(data))

    def turn():
        loop.call_soon(loop.stop)
        loop.run_forever()

    pairs = [socket.socketpair() for _ in range(3)]
    for pair in pairs:
        for sock in pair:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    received = [[] for _ in pairs]
    tasks = [
        loop.create_task(count(ours, each)) for (ours, _), each in zip(pairs, received, strict=True)
    ]
    for _ in range(60):
        for _, theirs in pairs:
            with contextlib.suppress(BlockingIOError):
                while True:
                    theirs.send(bytes(2**16))
        turn()
    assert min(map(sum, received)) > max(map(sum, received)) / 2
    for _, theirs in pairs:
        theirs.close()
    loop.run_until_complete(asyncio.wait(tasks))
    for ours, _ in pairs:
        ours.close()


async def test_a_flood_does_not_starve_another_connection(connect, pair, recorder):
    transport, protocol = await connect()
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with far:
        other, quiet = await loop.create_connection(recorder, sock=near)
        flood = asyncio.create_task(send_all(pair[1], b"x" * 50_000_000))
        while len(protocol.data) < 1_000_000:
            await asyncio.sleep(0)
        before = len(protocol.data)
        far.send(b"!")
        while not quiet.data:
            await asyncio.sleep(0)
        assert len(protocol.data) - before < 5_000_000
        flood.cancel()
        transport.abort()
        other.abort()
        await protocol.lost
        await quiet.lost


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size=4096):
        self.memory = bytearray(size)
        self.data = bytearray()
        self.hints = set()
        self.lost = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint):
        self.hints.add(sizehint)
        return self.memory

    def buffer_updated(self, nbytes):
        self.data += self.memory[:nbytes]

    def connection_lost(self, exc):
        self.lost.set_result(exc)


async def test_buffered_protocols_read_into_memory_of_their_own(connect, pair):
    _transport, protocol = await connect(Buffered)
    data = os.urandom(100_000)
    await send_all(pair[1], data)
    pair[1].shutdown(socket.SHUT_WR)
    assert await protocol.lost is None
    assert protocol.data == data
    assert protocol.hints == {-1}


async def test_buffered_protocols_have_one_context_for_all_calls_of_a_read(connect, pair, until):
    class Resetting(Buffered):
        def get_buffer(self, sizehint):
            self.token = variable.set("reading")
            return super().get_buffer(sizehint)

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            variable.reset(self.token)

    transport, protocol = await connect(Resetting)
    for _ in range(3):
        protocol.data.clear()
        await send_all(pair[1], b"x")
        await until(lambda: protocol.data)
    assert protocol.data == b"x" and not transport.is_closing()
    transport.close()
    await protocol.lost


def failing(name, value):
    def fail(self, _):
        if isinstance(value, BaseException):
            raise value
        return value

    return type("Failing", (Buffered,), {name: fail})


@pytest.mark.parametrize(
    ("name", "value", "message", "kind", "text"),
    [
        ("get_buffer", ValueError("x"), "protocol.get_buffer() call failed.", ValueError, "x"),
        (
            "get_buffer",
            bytearray(),
            "protocol.get_buffer() call failed.",
            RuntimeError,
            "get_buffer() returned an empty buffer",
        ),
        ("get_buffer", None, "protocol.get_buffer() call failed.", TypeError, None),
        (
            "buffer_updated",
            ValueError("y"),
            "protocol.buffer_updated() call failed.",
            ValueError,
            "y",
        ),
    ],
)
async def test_failing_buffered_protocols(connect, pair, reports, name, value, message, kind, text):
    seen = reports()
    _transport, protocol = await connect(failing(name, value))
    pair[1].sendall(b"x")
    exc = await protocol.lost
    assert type(exc) is kind and (text is None or str(exc) == text)
    assert [context["message"] for context in seen] == [f"Fatal error: {message}"]


@pytest.mark.parametrize("memory", [b"constant", memoryview(bytearray(8))[::2]])
async def test_a_buffer_that_cannot_be_written(connect, pair, reports, memory):
    seen = reports()
    _transport, protocol = await connect(failing("get_buffer", memory))
    pair[1].sendall(b"x")
    assert type(await protocol.lost) in (TypeError, BufferError)
    assert [context["message"] for context in seen] == ["Fatal read error on socket transport"]


async def test_the_protocol_may_change_while_reading(connect, pair, until):
    transport, first = await connect(data_received=lambda p, _: p.transport.set_protocol(buffered))
    buffered = Buffered()
    pair[1].sendall(b"first")
    await until(lambda: first.data)
    assert transport.get_protocol() is buffered
    pair[1].sendall(b"second")
    await until(lambda: buffered.data)
    assert (first.data, buffered.data) == (b"first", b"second")
    transport.set_protocol(first)
    del first.then["data_received"]
    pair[1].sendall(b"third")
    await until(lambda: len(first.data) == 10)
    transport.close()
    await first.lost
    assert not buffered.lost.done()


async def test_what_reading_has_caused_comes_before_more_is_read_also_in_a_long_turn(pair):
    loop = asyncio.get_running_loop()
    seen = []

    class OneAtATime(asyncio.Protocol):
        def data_received(self, data):
            self.next.set_result(data)  # once only: whoever waits has to renew it

    transport, protocol = await loop.create_connection(OneAtATime, sock=pair[0])

    async def read():
        while b"".join(seen) != b"02040":
            protocol.next = loop.create_future()
            seen.append(await protocol.next)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)

    def work(i):
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass
        if i in (0, 20, 40):
            pair[1].sendall(b"%d" % i)

    for i in range(60):
        loop.call_soon(work, i)
    await asyncio.wait_for(reading, 10)
    transport.close()


@pytest.mark.parametrize("before", [0, 100_000])
async def test_max_size_bounds_a_read(connect, pair, until, before):
    transport, protocol = await connect()
    assert transport.max_size == 256 * 1024
    await send_all(pair[1], bytes(before))
    await until(lambda: len(protocol.data) == before)
    sizes = []
    protocol.then["data_received"] = lambda _, data: sizes.append(len(data))
    transport.max_size = 1000
    await send_all(pair[1], bytes(2500))
    await until(lambda: len(protocol.data) == before + 2500)
    assert sizes == [1000, 1000, 500]
    assert transport.max_size == 1000
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.close()
    await protocol.lost
