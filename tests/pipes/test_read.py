"""Transports that read a pipe."""

import asyncio
import contextvars
import errno
import gc
import logging
import os
import socket
import struct
import subprocess
import sys
import warnings

import pytest

SORTS = ["pipe", "fifo", "socket", "terminal"]


@pytest.mark.parametrize("sort", SORTS)
async def test_reads_what_is_written(ends, reader, until, sort):
    reading, writing = ends(sort)
    transport, protocol = await reader(reading)
    for word in (b"one", b"two", b"x" * 3000):
        protocol.data.clear()
        writing.write(word)
        await until(lambda word=word: len(protocol.data) == len(word))
        assert protocol.data == word
    assert set(protocol.calls) == {"connection_made", "data_received"}
    transport.close()
    assert await protocol.lost is None
    assert reading.closed


async def test_is_a_read_transport_only(ends, reader):
    transport, protocol = await reader(ends()[0])
    assert isinstance(transport, asyncio.ReadTransport)
    assert not isinstance(transport, asyncio.WriteTransport)
    assert not hasattr(transport, "write") and not hasattr(transport, "abort")
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("sort", ["pipe", "fifo", "socket"])
async def test_the_end_is_told_before_the_loss(ends, reader, sort):
    reading, writing = ends(sort)
    transport, protocol = await reader(reading)
    writing.write(b"last")
    writing.close()
    assert await protocol.lost is None
    assert protocol.data == b"last"
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert transport.is_closing() and not transport.is_reading() and reading.closed


async def test_the_answer_to_the_end_changes_nothing(ends, reader):
    reading, writing = ends()
    _, protocol = await reader(reading, eof_received=lambda _: True)
    writing.close()
    assert await protocol.lost is None
    assert reading.closed


async def test_closing_is_true_while_the_end_is_told(ends, reader):
    reading, writing = ends()
    seen = []
    _, protocol = await reader(
        reading, eof_received=lambda p: seen.append(p.transport.is_closing())
    )
    writing.close()
    await protocol.lost
    assert seen == [True]


async def test_a_terminal_ends_with_an_error_that_is_no_news(ends, reader, reports):
    # The side that a program on a terminal does not have sees EIO once that program has ended.
    slave, master = ends("terminal")
    seen = reports()
    transport, protocol = await reader(master)
    slave.close()
    exc = await protocol.lost
    assert isinstance(exc, OSError) and exc.errno == errno.EIO
    assert seen == [] and "eof_received" not in protocol.calls
    assert transport.is_closing()


async def test_other_errors_are_reported(reader, reports):
    seen = reports()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    transport, protocol = await reader(near)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    exc = await protocol.lost
    assert isinstance(exc, ConnectionResetError)
    assert [(context["message"], context["exception"]) for context in seen] == [
        ("Fatal read error on pipe transport", exc)
    ]
    assert seen[0]["transport"] is transport and seen[0]["protocol"] is protocol


async def test_pausing(ends, reader, until):
    reading, writing = ends()
    transport, protocol = await reader(reading)
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    writing.write(b"abc")
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.data == b""
    transport.resume_reading()
    transport.resume_reading()
    assert transport.is_reading()
    await until(lambda: protocol.data == b"abc")
    transport.close()
    transport.pause_reading()
    transport.resume_reading()
    await protocol.lost


async def test_paused_in_connection_made(ends, reader, until):
    reading, writing = ends()
    transport, protocol = await reader(
        reading, connection_made=lambda p: p.transport.pause_reading()
    )
    writing.write(b"abc")
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.data == b"" and not transport.is_reading()
    transport.resume_reading()
    await until(lambda: protocol.data == b"abc")
    transport.close()
    await protocol.lost


async def test_closed_in_connection_made(ends, reader):
    reading, writing = ends()
    writing.write(b"never read")
    _, protocol = await reader(reading, connection_made=lambda p: p.transport.close())
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("name", ["connection_made", "data_received", "eof_received"])
async def test_closing_in_a_callback(ends, reader, reports, name):
    seen = reports()
    reading, writing = ends()

    def end(protocol):
        protocol.transport.close()
        protocol.transport.close()

    _, protocol = await reader(reading, **{name: end})
    if not reading.closed:
        writing.write(b"x")
    writing.close()
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert seen == [] and protocol.calls.count("connection_lost") == 1


async def test_what_a_protocol_raises_is_reported_and_reading_goes_on(ends, reader, reports, until):
    seen = reports()
    reading, writing = ends()

    def fail(protocol):
        if protocol.calls.count("data_received") == 1:
            raise ZeroDivisionError

    transport, protocol = await reader(reading, data_received=fail)
    writing.write(b"a")
    await until(lambda: seen)
    writing.write(b"b")
    await until(lambda: protocol.data == b"ab")
    assert len(seen) == 1 and isinstance(seen[0]["exception"], ZeroDivisionError)
    assert "PipeTransport._read_ready" in seen[0]["message"]
    transport.close()
    await protocol.lost


async def test_what_the_end_raises_is_reported(ends, reader, reports):
    def fail(protocol):
        raise ZeroDivisionError

    seen = reports()
    reading, writing = ends()
    _, protocol = await reader(reading, eof_received=fail)
    writing.close()
    assert await protocol.lost is None
    assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]


async def test_the_protocol_can_be_changed(ends, reader, recorder, until):
    reading, writing = ends()
    transport, protocol = await reader(reading)
    other = recorder()
    transport.set_protocol(other)
    assert transport.get_protocol() is other
    writing.write(b"abc")
    await until(lambda: other.data == b"abc")
    transport.close()
    await other.lost
    assert "connection_lost" not in protocol.calls


async def test_who_connects_has_a_turn_before_the_first_bytes(reader, ends):
    reading, writing = ends()
    writing.write(b"early")
    _, protocol = await reader(reading)
    assert protocol.calls == ["connection_made"]
    writing.close()
    await protocol.lost
    assert protocol.data == b"early"


async def test_information(ends, reader):
    reading, _ = ends()
    transport, protocol = await reader(reading)
    assert transport.get_extra_info("pipe") is reading
    assert transport.get_extra_info("socket") is None
    assert transport.get_extra_info("nothing", 5) == 5
    number = reading.fileno()
    assert f"PipeTransport fd={number} polling>" in repr(transport)
    transport.pause_reading()
    assert f"PipeTransport fd={number} idle>" in repr(transport)
    transport.close()
    assert f"PipeTransport closing fd={number} idle>" in repr(transport)
    await protocol.lost
    await asyncio.sleep(0)
    assert f"PipeTransport closed fd={number} closed>" in repr(transport)


async def test_the_fd_becomes_nonblocking(ends, reader):
    reading, _ = ends()
    assert os.get_blocking(reading.fileno())
    transport, protocol = await reader(reading)
    assert not os.get_blocking(reading.fileno())
    transport.close()
    await protocol.lost


async def test_other_files_are_refused(tmp_path, reader):
    with open(tmp_path / "file", "w+b") as file:
        with pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"):
            await reader(file)
        assert not file.closed
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="Pipe transport is for pipes/sockets only"):
            await asyncio.get_running_loop().connect_read_pipe(
                asyncio.Protocol, type("File", (), {"fileno": lambda self: directory})()
            )
    finally:
        os.close(directory)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's repr
async def test_a_closed_file_is_refused(ends, reader):
    reading, _ = ends()
    reading.close()
    with pytest.raises(ValueError):
        await reader(reading)


async def test_a_factory_that_fails_leaves_the_pipe_alone(ends):
    reading, _ = ends()

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.get_running_loop().connect_read_pipe(fail, reading)
    assert not reading.closed


async def test_cancelled_while_connecting(ends, recorder):
    reading, _ = ends()
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(recorder())
        return made[-1]

    task = loop.create_task(loop.connect_read_pipe(factory, reading))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await made[0].lost is None
    await asyncio.sleep(0)
    assert reading.closed


async def test_dropped_it_warns_and_closes(ends, reader):
    reading, _ = ends()
    transport, protocol = await reader(reading)
    transport.pause_reading()
    name = repr(transport)
    protocol.transport = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"unclosed transport {name}"]
    assert caught[0].category is ResourceWarning
    assert reading.closed


def test_the_loop_closes_first(new_loop, ends, recorder):
    reading, _ = ends()
    loop = new_loop()

    async def connect():
        return await loop.connect_read_pipe(recorder, reading)

    transport, _ = loop.run_until_complete(connect())
    loop.close()
    assert "open>" in repr(transport)
    assert not reading.closed
    transport._pipe = None  # as CPython's own tests disown it
    reading.close()


async def test_callbacks_run_in_the_context_of_the_connect(ends, until):
    variable = contextvars.ContextVar("variable", default="outside")
    reading, writing = ends()
    seen = []

    class Watching(asyncio.Protocol):
        def connection_made(self, transport):
            seen.append(variable.get())

        def data_received(self, data):
            seen.append(variable.get())

    variable.set("inside")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(Watching, reading)
    variable.set("later")
    writing.write(b"x")
    await until(lambda: len(seen) == 2)
    assert seen == ["inside", "inside"]
    transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_debug_mode_tells(ends, reader, caplog):
    asyncio.get_running_loop().set_debug(True)
    reading, writing = ends()
    number = reading.fileno()
    with caplog.at_level(logging.DEBUG, "asyncio"):
        transport, protocol = await reader(reading)
        transport.pause_reading()
        transport.resume_reading()
        writing.close()
        await protocol.lost
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith(f"Read pipe {number} connected: (<") for line in said)
    assert any(line.endswith("pauses reading") for line in said)
    assert any(line.endswith("resumes reading") for line in said)
    assert any(line.endswith("was closed by peer") for line in said)


async def test_streams(ends):
    reading, writing = ends()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), reading
    )
    writing.write(b"a line\nand ")
    assert await stream.readline() == b"a line\n"
    writing.write(b"more")
    writing.close()
    assert await stream.read() == b"and more"
    transport.close()
    await asyncio.sleep(0)


def test_a_flood_from_another_process(run):
    # More than a pipe holds, from a writer that blocks: every read makes it room.
    program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 40_000)"

    async def main():
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
            stream = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), child.stdout
            )
            got = await stream.read()
            await asyncio.sleep(0)
        assert got == bytes(range(256)) * 40_000

    run(main())


async def test_max_size_bounds_a_read(ends, reader, until):
    reading, writing = ends()
    transport, protocol = await reader(reading)
    assert transport.max_size == 256 * 1024
    transport.max_size = 3
    sizes = []
    protocol.then["data_received"] = lambda p: sizes.append(len(p.data))
    writing.write(b"abcdefgh")
    await until(lambda: len(protocol.data) == 8)
    assert sizes == [3, 6, 8]
    transport.close()
    await protocol.lost
