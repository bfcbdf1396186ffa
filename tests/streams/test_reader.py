"""StreamReader: what the reads give, when they wait, and what becomes of one that is cancelled."""

import asyncio
import gc
import re
import sys
import weakref

import pytest


class Transport(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


async def step():
    for _ in range(3):
        await asyncio.sleep(0)


READS = {
    "read": lambda it: it.read(3),
    "read_all": lambda it: it.read(),
    "readline": lambda it: it.readline(),
    "readuntil": lambda it: it.readuntil(b"--"),
    "readexactly": lambda it: it.readexactly(6),
    "anext": lambda it: it.__anext__(),
}


@pytest.fixture(params=READS)
def read(request):
    return READS[request.param]


async def test_what_is_there_is_read_without_a_turn(reader):
    it = reader()
    it.feed_data(b"one\ntwo\nthree--rest")
    reads = (it.readline(), it.__anext__(), it.readuntil(b"--"), it.read(2), it.readexactly(2))
    got = []
    for one in reads:
        with pytest.raises(StopIteration) as stop:
            one.send(None)
        got.append(stop.value.value)
    assert got == [b"one\n", b"two\n", b"three--", b"re", b"st"]
    assert all(type(data) is bytes for data in got)


async def test_one_piece_is_handed_out_as_it_came(reader):
    it = reader()
    piece = bytes(100_000)
    it.feed_data(piece)
    assert await it.read(200_000) == piece


async def test_pieces_are_joined(reader):
    it = reader()
    for _ in range(5):
        it.feed_data(b"ab")
    assert await it.readexactly(3) == b"aba"
    it.feed_data(b"c")
    assert await it.read(100) == b"bababab" + b"c"
    it.feed_data(bytearray(b"x"))
    it.feed_data(memoryview(b"yz")[1:])
    it.feed_data(b"")
    assert await it.read(100) == b"xz"


async def test_a_read_waits_until_there_is_enough(reader, read):
    it = reader()
    task = asyncio.ensure_future(read(it))
    got = []
    task.add_done_callback(lambda task: got.append(task.result()))
    for piece in (b"a", b"b", b"-", b"-", b"c", b"\n", b"d"):
        it.feed_data(piece)
        await step()
    it.feed_eof()
    await step()
    assert got[0] in (b"a", b"ab--c\n", b"ab--", b"ab--c\nd")


async def test_two_at_a_time(reader, read):
    it = reader()
    first = asyncio.ensure_future(read(it))
    await step()
    with pytest.raises(RuntimeError, match="while another coroutine is already waiting"):
        await read(it)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cancelled_it_loses_nothing(reader, read):
    it = reader()
    task = asyncio.ensure_future(read(it))
    await step()
    it.feed_data(b"ab--\ncdef")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await it.read(100) == b"ab--\ncdef"


async def test_cancelled_before_data_comes(reader, read):
    it = reader()
    task = asyncio.ensure_future(read(it))
    await step()
    task.cancel()
    it.feed_data(b"abcdef--\n")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert it._waiter is None
    assert await it.read(100) == b"abcdef--\n"


async def test_an_exception_reaches_who_waits_and_who_comes(reader, read):
    it = reader()
    task = asyncio.ensure_future(read(it))
    await step()
    error = ConnectionResetError("gone")
    it.set_exception(error)
    with pytest.raises(ConnectionResetError) as caught:
        await task
    assert caught.value is error is it.exception()
    it.feed_data(b"abcdef--\n")
    with pytest.raises(ConnectionResetError):
        await read(it)


async def test_the_end(reader):
    it = reader()
    it.feed_data(b"tail")
    it.feed_eof()
    assert not it.at_eof()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await it.readexactly(5)
    assert (caught.value.partial, caught.value.expected) == (b"tail", 5)
    assert it.at_eof()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await it.readuntil(b"x")
    assert (caught.value.partial, caught.value.expected) == (b"", None)
    assert (await it.read(), await it.read(1), await it.readline()) == (b"", b"", b"")
    assert [line async for line in it] == []
    with pytest.raises(AssertionError, match="feed_data after feed_eof"):
        it.feed_data(b"more")


async def test_a_last_line_without_its_end(reader):
    it = reader()
    it.feed_data(b"one\ntwo")
    it.feed_eof()
    assert [line async for line in it] == [b"one\n", b"two"]


async def test_a_line_over_the_limit(reader):
    it = reader(limit=4)
    it.feed_data(b"12345\nnext\n")
    with pytest.raises(ValueError, match="Separator is found, but chunk is longer") as caught:
        await it.readline()
    assert isinstance(caught.value.__context__, asyncio.LimitOverrunError)
    assert caught.value.__context__.consumed == 5
    assert await it.readline() == b"next\n"
    it.feed_data(b"12345")
    with pytest.raises(ValueError, match="Separator is not found"):
        await it.readline()
    assert it._buffer == b""


async def test_until_over_the_limit_keeps_all(reader):
    it = reader(limit=4)
    it.feed_data(b"123456")
    with pytest.raises(asyncio.LimitOverrunError) as caught:
        await it.readuntil(b"--")
    assert caught.value.consumed == 5
    it.feed_data(b"--")
    with pytest.raises(asyncio.LimitOverrunError) as caught:
        await it.readuntil(b"--")
    assert caught.value.consumed == 6
    assert await it.readexactly(8) == b"123456--"


async def test_a_separator_that_comes_in_pieces(reader):
    it = reader()
    task = asyncio.ensure_future(it.readuntil(b"abcabd"))
    for byte in b"xabcabcabdy":
        it.feed_data(bytes([byte]))
        await step()
    assert await task == b"xabcabcabd"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="not in this version")
async def test_several_separators(reader):
    it = reader()
    it.feed_data(b"key=value;next")
    assert await it.readuntil((b";", b"=")) == b"key="
    assert await it.readuntil((b";next", b"alue;")) == b"value;"
    with pytest.raises(ValueError, match="at least one element"):
        await it.readuntil(())
    with pytest.raises(ValueError, match="at least one-byte"):
        await it.readuntil((b"", b"x"))


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda it: it.readexactly(-1), ValueError),
        (lambda it: it.readuntil(b""), ValueError),
        (lambda it: it.readuntil(None), TypeError),
        (lambda it: it.read("x"), TypeError),
        (lambda it: it.readexactly(None), TypeError),
    ],
)
async def test_what_is_wrong_is_told_when_it_is_awaited(reader, read, error):
    coroutine = read(reader())
    with pytest.raises(error):
        await coroutine


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.readexactly(),
        lambda it: it.read(1, 2),
        lambda it: it.readline(1),
        lambda it: it.readuntil(nothing=1),
    ],
)
async def test_wrong_arguments(reader, call):
    with pytest.raises(TypeError):
        call(reader())


async def test_nothing_wanted(reader):
    it = reader()
    assert (await it.read(0), await it.readexactly(0)) == (b"", b"")


async def test_by_name(reader):
    it = reader()
    it.feed_data(data=b"12;3456")
    assert await it.readuntil(separator=b";") == b"12;"
    assert await it.readexactly(n=1) == b"3"
    assert await it.read(n=2) == b"45"


async def test_the_transport_is_paused_above_twice_the_limit(reader):
    it, transport = reader(limit=10), Transport()
    it.set_transport(transport)
    it.feed_data(b"x" * 20)
    assert transport.calls == []
    it.feed_data(b"x")
    it.feed_data(b"x")
    assert transport.calls == ["pause"]
    await it.read(11)
    assert transport.calls == ["pause"]
    await it.read(1)
    assert transport.calls == ["pause", "resume"]
    with pytest.raises(AssertionError, match="already set"):
        it.set_transport(transport)


async def test_a_read_of_more_than_that_resumes_it(reader):
    it, transport = reader(limit=10), Transport()
    it.set_transport(transport)
    it.feed_data(b"x" * 30)
    task = asyncio.ensure_future(it.readexactly(40))
    await step()
    assert transport.calls == ["pause", "resume"]
    it.feed_data(b"x" * 10)
    assert await task == b"x" * 40


async def test_all_is_read_in_pieces_of_the_limit(reader):
    it, transport = reader(limit=10), Transport()
    it.set_transport(transport)
    task = asyncio.ensure_future(it.read())
    for _ in range(4):
        it.feed_data(b"x" * 25)
        await step()
    it.feed_eof()
    assert await task == b"x" * 100
    assert transport.calls == ["pause", "resume"] * 4


async def test_a_transport_that_cannot_pause_is_forgotten(reader):
    class Plain(asyncio.Transport):
        asked = 0

        def pause_reading(self):
            self.asked += 1
            raise NotImplementedError

    it, transport = reader(limit=1), Plain()
    it.set_transport(transport)
    it.feed_data(b"123")
    it.feed_data(b"4")
    assert transport.asked == 1
    assert await it.read(10) == b"1234"


async def test_the_buffer_is_seen_and_changed(reader):
    """aiosmtpd clears it, other libraries look how much is there."""
    it = reader()
    it.feed_data(b"secret")
    buffer = it._buffer
    assert isinstance(buffer, bytearray)
    it.feed_data(b"s")
    assert buffer == b"secrets"
    assert it._buffer is buffer
    del it._buffer[:3]
    assert await it.read(2) == b"re"
    it._buffer.clear()
    assert buffer == b""
    it.feed_data(b"new")
    assert buffer == b"new"
    it._buffer.extend(b"er")
    assert await it.read(100) == b"newer"


async def test_private_attributes(reader):
    it = reader(limit=100)
    assert (it._limit, it._eof, it._paused, it._exception, it._waiter, it._transport) == (
        100,
        False,
        False,
        None,
        None,
        None,
    )
    it._limit = 5
    it._transport = transport = Transport()
    it.feed_data(b"x" * 11)
    assert transport.calls == ["pause"]
    it._eof = True
    assert it._loop is asyncio.get_running_loop()
    assert await it.read() == b"x" * 11


async def test_repr(reader):
    it = reader()
    assert repr(it) == "<StreamReader>"
    it.feed_data(b"data")
    it.feed_eof()
    assert repr(it) == "<StreamReader 4 bytes eof>"
    assert re.fullmatch("<StreamReader limit=7>", repr(reader(limit=7)))


def test_a_limit_that_is_none(streams, loop):
    for limit in (0, -1):
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            streams.StreamReader(limit=limit, loop=loop)


def test_any_number_is_a_limit(streams, loop):
    for limit in (1e6, float("inf"), 10**30):
        it = streams.StreamReader(limit=limit, loop=loop)
        it.feed_data(b"x" * 100)
        it.feed_eof()
        assert loop.run_until_complete(it.readline()) == b"x" * 100


async def test_subclasses(streams):
    class Reader(streams.StreamReader):
        async def readuntil(self, separator=b"\n"):
            return b"overridden"

        def feed_data(self, data):
            super().feed_data(data.upper())

    it = Reader(loop=asyncio.get_running_loop())
    assert await it.readline() == b"overridden"
    assert await it.__anext__() == b"overridden"
    it.feed_data(b"abc")
    assert await it.read(5) == b"ABC"
    protocol = streams.StreamReaderProtocol(it, loop=it._loop)
    protocol.data_received(b"xyz")
    assert await it.readexactly(3) == b"XYZ"


async def test_stepped_by_hand(reader):
    it = reader()
    coroutine = it.read(10)
    future = coroutine.send(None)
    assert future is not None
    it.feed_data(b"data")
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == b"data"
    closed = it.read(10)
    closed.send(None)
    closed.close()
    assert it._waiter is None


async def test_a_read_that_is_dropped_is_told_of(reader, recwarn):
    reader().read(1)
    assert any("never awaited" in str(warning.message) for warning in recwarn)


async def test_who_waits_and_is_forgotten_goes(reader):
    """Only the loop's weak set knows the task: the reader is in its cycle."""
    it = reader()
    task = asyncio.ensure_future(it.read(1))
    task._log_destroy_pending = False
    await step()
    gone = weakref.ref(it)
    del it, task
    gc.collect()
    assert gone() is None
