"""One descriptor, several who watch it: a terminal is read and written by one fd."""

import asyncio
import io
import os
import pty
import socket
import tty

import pytest


@pytest.fixture
def terminal():
    """A file object that reads and writes one side of a raw terminal, and the other side's fd."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    file = open(master, "r+b", 0)  # noqa: SIM115
    yield file, slave
    file.close()
    os.close(slave)


class Keeper:
    """A file that somebody else closes."""

    def __init__(self, file):
        self._file = file

    def fileno(self):
        return self._file.fileno()

    def close(self):
        pass


def fill(transport):
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 10_000)
        total += 10_000
    return total


@pytest.mark.parametrize("first", ["reader", "writer"])
async def test_both_directions_by_one_fd(terminal, reader, writer, until, first):
    file, other = terminal
    if first == "reader":
        reads, incoming = await reader(Keeper(file))
        writes, outgoing = await writer(Keeper(file))
    else:
        writes, outgoing = await writer(Keeper(file))
        reads, incoming = await reader(Keeper(file))
    total = fill(writes)  # now both directions are watched
    os.write(other, b"hello")
    await until(lambda: incoming.data == b"hello")
    got = 0
    os.set_blocking(other, False)
    while got < total:
        await asyncio.sleep(0)
        try:
            got += len(os.read(other, 1 << 16))
        except BlockingIOError:
            pass
    os.write(other, b" again")
    await until(lambda: incoming.data == b"hello again")
    reads.close()
    await incoming.lost
    writes.close()
    await outgoing.lost


@pytest.mark.penstock_only("asyncio's writer stops the reading of its number as it closes")
async def test_one_direction_ends_first(terminal, reader, writer, until):
    file, other = terminal
    reads, incoming = await reader(Keeper(file))
    writes, outgoing = await writer(Keeper(file))
    writes.close()
    await outgoing.lost
    os.write(other, b"still")
    await until(lambda: incoming.data == b"still")
    reads.close()
    await incoming.lost


async def test_a_sockets_number_stays_its_transports(writer):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
    with open(near.fileno(), "wb", 0, closefd=False) as file:
        writes, outgoing = await writer(file)
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(near, print)
        writes.abort()
        await outgoing.lost
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(near, print)
        transport.abort()
        await asyncio.sleep(0)
    far.close()


@pytest.mark.parametrize("first", ["transport", "callback"])
async def test_a_callback_beside_a_transport(terminal, reader, until, first):
    file, other = terminal
    loop = asyncio.get_running_loop()
    calls = []
    if first == "callback":
        loop.add_writer(file, calls.append, 1)
    reads, incoming = await reader(Keeper(file))
    if first == "transport":
        loop.add_writer(file, calls.append, 1)
    await until(lambda: calls)
    os.write(other, b"hello")
    await until(lambda: incoming.data == b"hello")
    assert loop.remove_writer(file)
    os.write(other, b" again")
    await until(lambda: incoming.data == b"hello again")
    reads.close()
    await incoming.lost


@pytest.mark.penstock_only("asyncio's transport goes on watching the number")
async def test_a_number_that_means_another_file(reader, until):
    first, other_end = os.pipe()
    reads, incoming = await reader(open(first, "rb", 0))  # noqa: SIM115
    second, writing = os.pipe()
    os.dup2(second, first)  # the pipe that the transport had is gone
    loop = asyncio.get_running_loop()
    got = []
    loop.add_reader(first, lambda: got.append(os.read(first, 100)))
    os.write(writing, b"not for the transport")
    await until(lambda: got)
    assert got == [b"not for the transport"] and incoming.data == b""
    loop.remove_reader(first)
    reads.close()
    await incoming.lost
    for fd in (other_end, second, writing):
        os.close(fd)


# asyncio's transport has got so far that its finalizer fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
@pytest.mark.parametrize(
    ("file", "error"), [(0, AttributeError), (None, AttributeError), (io.BytesIO(), OSError)]
)
async def test_what_is_no_pipe(method, file, error):
    with pytest.raises(error, match="fileno"):
        await getattr(asyncio.get_running_loop(), method)(asyncio.Protocol, file)
