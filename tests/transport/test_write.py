import array
import asyncio
import logging
import socket
import sys

import pytest


def read_exactly(sock, size):
    data = bytearray()
    while len(data) < size:
        some = sock.recv(size - len(data))
        if not some:
            break
        data += some
    return bytes(data)


async def read_until_eof(sock):
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    data = bytearray()
    while some := await loop.sock_recv(sock, 1 << 20):
        data += some
    return bytes(data)


def fill(transport, piece=b"f" * 65536):
    """Write until something is queued; how much was written."""
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(piece)
        total += len(piece)
    return total


async def test_what_is_written_has_left_when_write_returns(connect, pair):
    transport, protocol = await connect()
    for data in (b"bytes", bytearray(b"array"), memoryview(b"views")):
        transport.write(data)
        assert read_exactly(pair[1], 5) == bytes(data)
    transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    assert read_exactly(pair[1], 3) == b"abc"
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.lost


async def test_empty_writes_do_nothing(connect):
    transport, protocol = await connect()
    transport.write(b"")
    transport.write(memoryview(b""))
    transport.writelines([])
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.lost


@pytest.mark.skipif(sys.version_info < (3, 12), reason="until then the lines are joined")
async def test_lines_that_are_false_are_no_lines(connect, pair):
    transport, protocol = await connect()
    for nothing in (None, (), b"", 0):
        transport.writelines(nothing)
    transport.write(b"b")
    assert read_exactly(pair[1], 1) == b"b"
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_since(3, 13)
async def test_empty_lines_do_nothing(connect, pair):
    transport, protocol = await connect()
    transport.writelines([b"", b""])
    transport.writelines([b"a", b"", b"b"])
    assert read_exactly(pair[1], 2) == b"ab"
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("data", ["text", 1, None, [b"x"]])
async def test_other_types_are_refused(connect, data):
    transport, protocol = await connect()
    taken = "bytes-like"
    if sys.version_info >= (3, 14):
        taken = "bytes, bytearray, or memoryview"
    message = f"data argument must be a {taken} object, not '{type(data).__name__}'"
    with pytest.raises(TypeError, match=message):
        transport.write(data)
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_until(3, 15)  # it keeps the lines before that one, and sends them much later
async def test_lines_of_other_types_are_refused_before_anything_is_sent(connect, pair):
    transport, protocol = await connect()
    with pytest.raises(TypeError):
        transport.writelines([b"a", "text"])
    transport.write(b"b")
    assert read_exactly(pair[1], 1) == b"b"
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_until(3, 15)
async def test_what_is_said_of_lines_that_are_none(connect):
    transport, protocol = await connect()
    is_joined = sys.version_info < (3, 12)
    for lines, message in (
        (5, "can only join an iterable" if is_joined else "'int' object is not iterable"),
        (
            [b"a", "text"],
            "sequence item 1: expected a bytes-like object, str found"
            if is_joined
            else "memoryview: a bytes-like object is required, not 'str'",
        ),
    ):
        with pytest.raises(TypeError) as raised:
            transport.writelines(lines)
        assert str(raised.value) == message
    with pytest.raises(TypeError, match=r"bytes.*object, not 'array'$"):
        transport.write(array.array("b", b"x"))
    transport.write_eof()
    name = "write" if is_joined else "writelines"
    with pytest.raises(RuntimeError, match=rf"^Cannot call {name}\(\) after write_eof\(\)$"):
        transport.writelines([b"x"])
    transport.close()
    await protocol.lost


async def test_what_the_socket_does_not_take_follows_in_order(connect, pair):
    transport, protocol = await connect()
    written = fill(transport)
    for data in (b"one", bytearray(b"two"), memoryview(b"xthree")[1:], memoryview(bytearray(b"4"))):
        transport.write(data)
    transport.writelines([b"five", bytearray(b"six")])
    transport.close()
    data = await read_until_eof(pair[1])
    await protocol.lost
    assert data[:written] == b"f" * written
    assert data[written:] == b"onetwothree4fivesix"


@pytest.mark.penstock_only("asyncio keeps a view of it since 3.12, a copy before")
async def test_a_bytearray_is_the_programs_again_after_write(connect, pair):
    transport, protocol = await connect()
    written = fill(transport)
    data = bytearray(b"before")
    transport.write(data)
    transport.writelines([data])
    data[:] = b"after"  # also resizes: no view of it is left
    transport.close()
    assert (await read_until_eof(pair[1]))[written:] == b"beforebefore"
    await protocol.lost


async def test_many_small_pieces_behind_a_full_socket(connect, pair):
    transport, protocol = await connect()
    written = fill(transport)
    pieces = [b"%06d" % i for i in range(5000)]
    for piece in pieces[:2500]:
        transport.write(piece)
    transport.writelines(pieces[2500:])
    transport.close()
    assert (await read_until_eof(pair[1]))[written:] == b"".join(pieces)
    assert await protocol.lost is None


async def test_more_lines_than_the_kernel_takes_at_once(connect, pair):
    transport, protocol = await connect()
    pieces = [b"%05d" % i for i in range(3000)]
    transport.writelines(iter(pieces))
    transport.close()
    assert await read_until_eof(pair[1]) == b"".join(pieces)
    await protocol.lost


async def test_write_eof_follows_what_is_queued(connect, pair):
    transport, protocol = await connect()
    assert transport.can_write_eof()
    written = fill(transport)
    transport.write(b"tail")
    transport.write_eof()
    transport.write_eof()
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        transport.write(b"x")
    with pytest.raises(RuntimeError, match=r"Cannot call write(lines)?\(\) after write_eof"):
        transport.writelines([b"x"])
    data = await read_until_eof(pair[1])
    assert len(data) == written + 4
    # The other direction is open.
    pair[1].send(b"answer")
    while not protocol.data:
        await asyncio.sleep(0)
    assert protocol.data == b"answer"
    transport.close()
    await protocol.lost


async def test_half_close_delivers_the_answer(connect, pair):
    """The peer has ended its side; ours stays open where the protocol says so."""
    transport, protocol = await connect()
    protocol.keep_open = True
    pair[1].shutdown(socket.SHUT_WR)
    while "eof_received" not in protocol.calls:
        await asyncio.sleep(0)
    assert not transport.is_closing()
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.calls.count("eof_received") == 1
    transport.write(b"answer")
    transport.close()
    assert await read_until_eof(pair[1]) == b"answer"
    assert await protocol.lost is None


async def test_writing_to_a_lost_connection_warns_in_the_end(connect, caplog):
    transport, protocol = await connect()
    transport.abort()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(4):
            transport.write(b"x")
        assert not caplog.records
        transport.write(b"x")
        transport.write(b"x")
    await protocol.lost
    with caplog.at_level(logging.WARNING, "asyncio"):
        transport.write(b"x")
    assert [record.message for record in caplog.records] == ["socket.send() raised exception."] * 3


async def test_a_reset_is_an_error_for_connection_lost_only(connect, pair, reports):
    seen = reports()
    transport, protocol = await connect()
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair[1].close()
    exc = await protocol.lost
    assert isinstance(exc, ConnectionResetError)
    assert transport.is_closing() and seen == []


async def test_a_write_into_a_reset_connection(connect, pair, reports):
    seen = reports()
    transport, protocol = await connect()
    transport.pause_reading()
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair[1].close()
    for _ in range(3):
        transport.write(b"x")
    assert isinstance(await protocol.lost, OSError)
    assert seen == []


async def test_a_reset_while_something_is_queued(connect, pair, reports):
    seen = reports()
    transport, protocol = await connect()
    transport.pause_reading()
    fill(transport)
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair[1].close()
    assert isinstance(await protocol.lost, OSError)
    assert transport.get_write_buffer_size() == 0 and seen == []


async def test_write_eof_of_a_lost_connection_raises(connect, pair):
    transport, protocol = await connect()
    transport.pause_reading()
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair[1].close()
    with pytest.raises(OSError, match="not connected"):
        transport.write_eof()
    transport.abort()
    await protocol.lost


@pytest.mark.penstock_only("what asyncio does depends on the version, and on what is queued")
@pytest.mark.parametrize("is_full", [False, True])
async def test_what_has_gaps_is_a_failed_write(connect, reports, is_full):
    seen = reports()
    transport, protocol = await connect()
    if is_full:
        fill(transport)
    with pytest.raises(BufferError, match="C-contiguous"):
        transport.writelines([b"whole", memoryview(b"a b c")[::2]])
    assert not transport.is_closing()
    transport.write(memoryview(b"a b c")[::2])
    assert type(await protocol.lost) is BufferError
    assert [context["message"] for context in seen] == ["Fatal write error on socket transport"]
