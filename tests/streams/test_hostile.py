"""Streams whose objects are initialised again, fail by what is no exception, or go while they are
looked at: asyncio's objects bear it, and so must native ones, which point to each other."""

import asyncio
import gc
import sys
import weakref
from types import SimpleNamespace

import penstock
import pytest

from .test_reader import READS, step


@pytest.fixture
def protocol(streams):
    def make(reader):
        return streams.StreamReaderProtocol(reader, loop=asyncio.get_running_loop())

    return make


def again(it):
    """Initialises `it` again, and fills what memory that has freed."""
    it.__init__(loop=asyncio.get_running_loop())
    gc.collect()
    return [bytearray(300) for _ in range(100)]


async def failure_of(awaitable):
    with pytest.raises(Exception) as caught:
        await asyncio.wait_for(awaitable, 5)
    return caught.value


# ---- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", READS)
async def test_a_class_as_the_exception_is_raised_as_an_instance(reader, how):
    it = reader()
    read = asyncio.create_task(READS[how](it))
    await step()
    it.set_exception(ZeroDivisionError)
    for awaitable in (read, READS[how](it)):
        failure = await failure_of(awaitable)
        assert type(failure) is ZeroDivisionError


@pytest.mark.parametrize("how", READS)
async def test_what_is_no_exception_is_not_raised(reader, how):
    it = reader()
    read = asyncio.create_task(READS[how](it))
    await step()
    with pytest.raises(TypeError):
        it.set_exception(5)
    read.cancel()
    failure = await failure_of(READS[how](it))
    assert str(failure) == "exceptions must derive from BaseException"


async def test_a_reader_that_fails_by_stop_iteration(reader):
    it = reader()
    it._exception = StopIteration(3)
    failure = await failure_of(it.read(1))
    assert type(failure) is RuntimeError
    assert failure.__cause__ is it._exception


@pytest.mark.parametrize("how", READS)
async def test_a_failure_knows_what_was_being_handled(reader, how):
    it = reader()
    it.set_exception(OSError())
    handled = ZeroDivisionError()
    with pytest.raises(OSError) as caught:
        try:
            raise handled
        except ZeroDivisionError:
            await READS[how](it)
    assert caught.value is it.exception()
    assert caught.value.__context__ is handled


async def test_an_incomplete_read_knows_what_was_being_handled(reader):
    it = reader()
    it.feed_eof()
    handled = ZeroDivisionError()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        try:
            raise handled
        except ZeroDivisionError:
            await it.readexactly(1)
    assert caught.value.__context__ is handled


# ---- limits ------------------------------------------------------------------------------------


async def test_read_to_the_end_ends_at_a_limit_of_nothing(reader):
    it = reader()
    it._limit = 0
    it.feed_data(b"abc")
    it.feed_eof()
    assert await asyncio.wait_for(it.read(), 5) == b""


async def test_a_limit_below_one_byte_lets_read_to_the_end_end(reader):
    it = reader(0.5)
    it.feed_data(b"abc")
    it.feed_eof()
    try:
        assert await asyncio.wait_for(it.read(), 5) == b"abc"
    except TypeError:  # asyncio can't slice by it
        pass


# ---- initialised again -------------------------------------------------------------------------


async def test_a_reader_that_is_initialised_again_is_still_fed(reader, protocol):
    it = reader()
    feeding = protocol(it)
    feeding.data_received(b"old")
    again(it)
    feeding.data_received(b"new")
    assert await it.read(10) == b"new"


async def test_a_protocol_that_is_initialised_again_while_connected(streams):
    accepted = asyncio.get_running_loop().create_future()
    server = await streams.start_server(lambda *both: accepted.set_result(both), "127.0.0.1", 0)
    async with server:
        it, writer = await streams.open_connection(*server.sockets[0].getsockname())
        _, other = await accepted
        protocol = writer.transport.get_protocol()
        protocol.__init__(it, loop=asyncio.get_running_loop())
        kept = [bytearray(300) for _ in range(100)]
        other.write(b"hello")
        assert await asyncio.wait_for(it.readexactly(5), 5) == b"hello"
        other.close()
        assert await asyncio.wait_for(it.read(), 5) == b""
        writer.close()
        await writer.wait_closed()
        await other.wait_closed()
    assert kept


@pytest.mark.parametrize("size", [-1, 18])
async def test_a_transport_that_initialises_the_reader_as_it_resumes(reader, size):
    it = reader(4)

    class Transport:
        def pause_reading(self):
            pass

        def resume_reading(self):
            self.kept = again(it)
            it.feed_eof()

    it.set_transport(Transport())
    it.feed_data(b"x" * 20)
    await asyncio.wait_for(it.read(size), 5)
    assert await asyncio.wait_for(it.read(size), 5) == b""


async def test_a_size_that_initialises_the_reader(reader):
    it = reader()

    class Size(int):
        def __index__(self):
            self.kept = again(it)
            it.feed_eof()
            return 5

    it.feed_data(b"abc")
    assert len(await asyncio.wait_for(it.read(Size(5)), 5)) <= 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("data_received", [b"x"]), ("eof_received", []), ("connection_lost", [OSError()])],
)
async def test_who_waits_initialises_reader_and_protocol(reader, protocol, name, arguments):
    it = reader()
    feeding = protocol(it)
    calls = []

    class Waiter:
        def cancelled(self):
            return False

        def set_result(self, value):
            calls.append(value)
            self.kept = again(it)
            feeding.__init__(it, loop=asyncio.get_running_loop())

        set_exception = set_result

    it._waiter = Waiter()
    getattr(feeding, name)(*arguments)
    assert len(calls) == 1


async def test_a_writer_that_is_initialised_as_drain_asks(streams):
    loop = asyncio.get_running_loop()

    class Protocol:
        async def _drain_helper(self):
            return None

    class Transport:
        def is_closing(self):
            initialise()
            return False

    class Reader(streams.StreamReader):
        def exception(self):
            initialise()

    def initialise():
        writer.__init__(Transport(), Protocol(), Reader(loop=loop), loop)
        gc.collect()

    writer = streams.StreamWriter(Transport(), Protocol(), Reader(loop=loop), loop)
    await asyncio.wait_for(writer.drain(), 5)


# ---- gone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_cycle", [False, True])
async def test_a_reader_that_goes_is_not_seen_any_more(reader, protocol, in_cycle):
    it = reader()
    feeding = protocol(it)
    seen = []

    def going(_):
        seen.append(feeding._stream_reader)
        feeding.data_received(b"x")
        feeding.eof_received()

    reference = weakref.ref(it, going)
    if in_cycle:
        it.itself = it
    del it
    gc.collect()
    assert reference() is None
    # From 3.15 on the collector clears weak references without a callback last.
    if not in_cycle or sys.version_info < (3, 15):
        assert seen == [None]


LETTING_GO = {
    "strong": lambda protocol: setattr(protocol, "_strong_reader", None),
    "writer": lambda protocol: setattr(protocol, "_stream_writer", None),
    "reader": lambda protocol: setattr(protocol._stream_writer, "_reader", None),
}


@pytest.mark.parametrize("last", LETTING_GO)
async def test_a_reader_is_seen_and_fed_as_long_as_it_lives(streams, reader, last):
    it = reader()
    feeding = streams.StreamReaderProtocol(it, lambda *_: None, asyncio.get_running_loop())
    assert feeding._stream_reader is it
    if last != "strong":
        transport = SimpleNamespace(is_closing=lambda: True)
        feeding._stream_writer = streams.StreamWriter(transport, feeding, it, feeding._loop)
        feeding._strong_reader = None
    for _ in range(2):
        assert feeding._stream_reader is feeding._stream_reader_wr() is it
        feeding.data_received(b"x")
        assert await it.read(1) == b"x"
        LETTING_GO[last](feeding)
        if last == "reader":
            last = "writer"
    gone = weakref.ref(it)
    del it
    gc.collect()
    assert gone() is feeding._stream_reader is None
    feeding.data_received(b"x")
    feeding.connection_lost(None)


async def test_what_the_collector_shows_of_a_reader_outlives_it(reader, protocol):
    it = reader()
    feeding = protocol(it)
    held = gc.get_referents(it)
    del it
    kept = [bytearray(300) for _ in range(100)]
    assert feeding._stream_reader is None
    feeding.data_received(b"x")
    feeding.connection_lost(None)
    assert held
    assert kept


async def test_a_buffer_that_holds_its_reader_is_collected(reader):
    class Buffer(bytearray):
        pass

    it = reader()
    it._buffer = Buffer(b"x")
    it._buffer.reader = it
    reference = weakref.ref(it)
    del it
    gc.collect()
    assert reference() is None


@pytest.mark.penstock_only("asyncio has no native part")
@pytest.mark.parametrize("name", ["reader", "lock", "queue"])
async def test_the_native_part_is_out_of_reach(reader, streams, name):
    made = {"reader": reader, "lock": penstock.Lock, "queue": penstock.Queue}[name]
    it = made()
    if not type(it).__module__.startswith("penstock."):
        pytest.skip("a class of asyncio's")
    for value in (5, [], object()):
        with pytest.raises(AttributeError):
            it._native = value
    with pytest.raises(AttributeError):
        del it._native
    assert not hasattr(it, "_native")


@pytest.mark.parametrize("name", ["_eof", "_paused", "_limit"])
async def test_a_field_that_is_deleted(reader, name):
    it = reader()
    try:
        delattr(it, name)
    except AttributeError:
        it.feed_data(b"x")
        assert await it.read(1) == b"x"


# ---- subclasses --------------------------------------------------------------------------------


async def test_the_methods_that_a_subclass_overrides_are_those_that_are_called(streams):
    calls = []

    class Reader(streams.StreamReader):
        async def _wait_for_data(self, function):
            calls.append(function)
            await super()._wait_for_data(function)

        async def read(self, n=-1):
            calls.append(n)
            return await super().read(n)

    it = Reader(limit=10, loop=asyncio.get_running_loop())
    read = asyncio.create_task(it.read())
    await step()
    it.feed_data(b"abc")
    it.feed_eof()
    assert await read == b"abc"
    assert calls == [-1, 10, "read", 10]
