"""Transports that write a pipe."""

import asyncio
import contextvars
import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import warnings

import pytest

SORTS = ["pipe", "fifo", "socket", "terminal"]
WATCHED = ["pipe", "fifo", "socket"]  # the end of the reader is noticed


def fill(transport):
    """Write until something is queued; how much that was."""
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 10_000)
        total += 10_000
    return total


def read_exactly(file, size):
    """Read, while the loop stands still; a terminal hands out what came in by and by."""
    got = b""
    while len(got) < size:
        got += os.read(file.fileno(), size - len(got))
    return got


async def drain(file, size=1 << 62):
    """Read up to `size` bytes, or to the end, while the loop runs."""
    os.set_blocking(file.fileno(), False)
    loop = asyncio.get_running_loop()
    got = bytearray()
    while len(got) < size:
        try:
            some = os.read(file.fileno(), min(size - len(got), 1 << 16))
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(file.fileno(), readable.set_result, None)
            try:
                await readable
            finally:
                loop.remove_reader(file.fileno())
            continue
        if not some:
            break
        got += some
    return bytes(got)


@pytest.mark.parametrize("sort", SORTS)
async def test_what_is_written_has_left_at_once(ends, writer, sort):
    reading, writing = ends(sort)
    transport, protocol = await writer(writing)
    transport.write(b"one,")
    transport.write(bytearray(b"two,"))
    transport.write(memoryview(b"three"))
    transport.write(b"")
    assert read_exactly(reading, 13) == b"one,two,three"
    assert transport.get_write_buffer_size() == 0
    transport.writelines([b"four,", bytearray(b"five"), b""])
    assert read_exactly(reading, 9) == b"four,five"
    transport.close()
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert writing.closed


async def test_is_a_transport_that_cannot_read(ends, writer):
    transport, protocol = await writer(ends()[1])
    assert isinstance(transport, asyncio.Transport)  # as asyncio's happens to be
    for method in (transport.is_reading, transport.pause_reading, transport.resume_reading):
        with pytest.raises(NotImplementedError):
            method()
    assert transport.can_write_eof()
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
async def test_other_types_are_refused(ends, writer, data):
    transport, protocol = await writer(ends()[1])
    with pytest.raises(AssertionError, match="text|5|None|x"):
        transport.write(data)
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("sort", SORTS)
async def test_a_full_pipe_queues_and_drains(ends, writer, sort):
    reading, writing = ends(sort)
    transport, protocol = await writer(writing)
    total = fill(transport)
    changing = bytearray(b"y" * 1000)
    transport.write(changing)
    changing[:] = b"z" * 1000  # what is queued is what was written
    got = await drain(reading, total + 1000)
    assert got == b"x" * total + b"y" * 1000
    assert transport.get_write_buffer_size() == 0
    transport.close()
    assert await protocol.lost is None


async def test_flow_control(ends, writer, until):
    reading, writing = ends()
    transport, protocol = await writer(writing)
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    total = fill(transport)
    assert protocol.calls == ["connection_made", "pause_writing"]
    transport.write(b"x")
    await drain(reading, total + 1)
    await until(lambda: len(protocol.calls) == 3)
    assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]
    transport.close()
    await protocol.lost


async def test_a_mebibyte_to_a_slow_reader(ends):
    reading, writing = ends()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), writing
    )
    stream = asyncio.StreamWriter(transport, protocol, None, loop)
    expected = bytes(range(256)) * 4096

    async def write():
        for start in range(0, len(expected), 50_000):
            stream.write(expected[start : start + 50_000])
            await stream.drain()
            assert transport.get_write_buffer_size() <= 65536
        transport.close()

    async def read():
        got = bytearray()
        while some := await drain(reading, 1000):
            got += some
            await asyncio.sleep(0)
        return bytes(got)

    _, got = await asyncio.gather(write(), read())
    assert got == expected


async def test_closing_lets_what_is_queued_leave(ends, writer):
    reading, writing = ends()
    transport, protocol = await writer(writing)
    total = fill(transport)
    transport.close()
    transport.close()
    assert transport.is_closing() and not protocol.lost.done()
    transport.write(b"too late")
    assert await drain(reading) == b"x" * total
    assert await protocol.lost is None
    assert writing.closed


async def test_write_eof_closes(ends, writer):
    reading, writing = ends()
    transport, protocol = await writer(writing)
    transport.write(b"last")
    transport.write_eof()
    assert transport.is_closing()
    transport.write_eof()
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert reading.read(100) == b"last" and reading.read(100) == b""
    transport.write_eof()
    transport.close()


async def test_aborting_drops_what_is_queued(ends, writer):
    reading, writing = ends()
    transport, protocol = await writer(writing)
    total = fill(transport)
    transport.abort()
    assert transport.get_write_buffer_size() == 0 and not protocol.lost.done()
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert len(await drain(reading)) < total


@pytest.mark.parametrize("sort", WATCHED)
async def test_the_end_of_the_reader_is_noticed(ends, writer, sort):
    reading, writing = ends(sort)
    transport, protocol = await writer(writing)
    reading.close()
    assert await protocol.lost is None
    assert transport.is_closing() and writing.closed


@pytest.mark.parametrize("sort", WATCHED)
@pytest.mark.parametrize("closing", [False, True])
async def test_the_end_of_the_reader_while_bytes_wait(ends, writer, reports, sort, closing):
    seen = reports()
    reading, writing = ends(sort)
    transport, protocol = await writer(writing)
    fill(transport)
    if closing:
        transport.close()
    reading.close()
    assert isinstance(await protocol.lost, BrokenPipeError)
    assert seen == [] and transport.get_write_buffer_size() == 0


@pytest.mark.penstock_only("asyncio has forgotten by then what it called")
async def test_what_the_loss_of_a_drained_pipe_raises_is_reported(ends, writer, reports):
    def fail(protocol):
        raise ZeroDivisionError

    seen = reports()
    reading, writing = ends()
    transport, protocol = await writer(writing, connection_lost=fail)
    total = fill(transport)
    transport.close()
    await drain(reading, total)
    await protocol.lost
    await asyncio.sleep(0)
    (context,) = seen
    assert isinstance(context["exception"], ZeroDivisionError)
    assert "WritePipeTransport._write_ready" in context["message"]
    assert writing.closed


async def test_data_that_nobody_read_is_no_end(ends, writer):
    reading, writing = ends("fifo")
    transport, protocol = await writer(writing)
    for _ in range(10):
        transport.write(b"message")
        await asyncio.sleep(0)
    assert not transport.is_closing()
    assert await drain(reading, 70) == b"message" * 10
    transport.close()
    await protocol.lost


async def test_writing_where_nobody_reads(ends, writer, reports, caplog):
    seen = reports()
    reading, writing = ends()
    transport, protocol = await writer(writing)
    reading.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(5):
            transport.write(b"x")
        assert caplog.records == []
        transport.write(b"x")
    assert [record.getMessage() for record in caplog.records] == [
        "pipe closed by peer or os.write(pipe, data) raised exception."
    ]
    assert isinstance(await protocol.lost, BrokenPipeError)
    assert seen == []


async def test_writing_after_close_is_said(ends, writer, caplog):
    transport, protocol = await writer(ends()[1])
    transport.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(5):
            transport.write(b"x")
        assert caplog.records == []
        transport.write(b"x")
    assert len(caplog.records) == 1
    assert await protocol.lost is None


def test_sigpipe_ends_who_asked_for_it(new_loop):
    # Python ignores SIGPIPE; a filter that restores it wants to end silently.
    program = f"""
import asyncio, os, signal, sys, penstock
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
async def main():
    reading, writing = os.pipe()
    file = open(writing, "wb", 0)
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, file)
    os.close(reading)
    transport.write(b"x")
    print("survived")
make = {"penstock.new_event_loop" if new_loop.__module__.startswith("penstock") else None}
with asyncio.Runner(loop_factory=make) as runner:
    runner.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGPIPE, b"", b"")


async def test_a_terminal_that_is_gone(ends, writer, reports):
    seen = reports()
    master, slave = ends("terminal")
    transport, protocol = await writer(master)
    slave.close()
    for _ in range(5):
        await asyncio.sleep(0)
    transport.close()
    assert await protocol.lost is None
    assert seen == []


async def test_a_device_that_fails(writer, reports):
    seen = reports()
    with open("/dev/full", "wb", 0) as full:
        transport, protocol = await writer(full)
        transport.write(b"x")
        exc = await protocol.lost
        assert isinstance(exc, OSError) and exc.errno == errno.ENOSPC
        await asyncio.sleep(0)
    assert seen == []


async def test_dev_null_takes_everything(writer):
    with open(os.devnull, "wb", 0) as null:
        transport, protocol = await writer(null)
        transport.write(b"x" * 1_000_000)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await protocol.lost is None


@pytest.mark.parametrize("how", ["close", "abort", "close abort", "close close", "write_eof"])
@pytest.mark.parametrize("name", ["connection_made", "pause_writing", "resume_writing"])
async def test_closing_in_a_callback(ends, writer, reports, name, how):
    seen = reports()

    def end(protocol):
        for method in how.split():
            getattr(protocol.transport, method)()

    reading, writing = ends()
    transport, protocol = await writer(writing, **{name: end})
    if name != "connection_made":
        transport.set_write_buffer_limits(high=0)
        while not transport.get_write_buffer_size() and not transport.is_closing():
            transport.write(b"x" * 10_000)
        await drain(reading)
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert protocol.calls.count("connection_lost") == 1 and writing.closed
    # asyncio schedules connection_lost() once more for an abort() behind a close().
    assert [context for context in seen if "NoneType" not in str(context["exception"])] == []


async def test_information(ends, writer):
    _, writing = ends()
    transport, protocol = await writer(writing)
    number = writing.fileno()
    assert transport.get_extra_info("pipe") is writing
    assert f"PipeTransport fd={number} idle bufsize=0>" in repr(transport)
    total = fill(transport)
    waiting = transport.get_write_buffer_size()
    assert 0 < waiting < total
    assert f"PipeTransport fd={number} polling bufsize={waiting}>" in repr(transport)
    transport.abort()
    assert f"PipeTransport closing fd={number} idle bufsize=0>" in repr(transport)
    await protocol.lost
    await asyncio.sleep(0)
    assert f"PipeTransport closed fd={number} closed>" in repr(transport)


async def test_other_files_are_refused(tmp_path, writer):
    message = "^Pipe transport is only for pipes, sockets and character devices$"
    with open(tmp_path / "file", "w+b") as file:
        with pytest.raises(ValueError, match=message):
            await writer(file)
        assert not file.closed


async def test_cancelled_while_connecting(ends, recorder):
    _, writing = ends()
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(recorder())
        return made[-1]

    task = loop.create_task(loop.connect_write_pipe(factory, writing))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await made[0].lost is None
    await asyncio.sleep(0)
    assert writing.closed


async def test_dropped_it_warns_and_closes(ends, writer):
    # Nothing watches a terminal that is only written.
    _, writing = ends("terminal")
    transport, protocol = await writer(writing)
    name = repr(transport)
    protocol.transport = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"unclosed transport {name}"]
    assert writing.closed


async def test_a_watched_one_lives_on(ends, writer):
    reading, writing = ends()
    transport, protocol = await writer(writing)
    protocol.transport = None
    del transport
    gc.collect()
    assert not writing.closed
    reading.close()
    assert await protocol.lost is None


async def test_the_resume_runs_in_the_context_of_the_write(ends, until):
    variable = contextvars.ContextVar("variable", default="outside")
    reading, writing = ends()
    seen = []

    class Watching(asyncio.Protocol):
        def resume_writing(self):
            seen.append(variable.get())

    transport, _ = await asyncio.get_running_loop().connect_write_pipe(Watching, writing)
    transport.set_write_buffer_limits(high=0)
    variable.set("writing")
    total = fill(transport)
    variable.set("later")
    await drain(reading, total)
    await until(lambda: seen)
    assert seen == ["writing"]
    transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_debug_mode_tells(ends, writer, caplog):
    asyncio.get_running_loop().set_debug(True)
    reading, writing = ends()
    number = writing.fileno()
    with caplog.at_level(logging.DEBUG, "asyncio"):
        _, protocol = await writer(writing)
        reading.close()
        await protocol.lost
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith(f"Write pipe {number} connected: (<") for line in said)
    assert any(line.endswith("was closed by peer") for line in said)
