"""create_unix_connection."""

import asyncio
import os
import socket
import struct
import threading
from pathlib import Path

import pytest


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


class Collector(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exc):
        self.lost.set_result(exc)


def abstract(kind):
    name = f"\0penstock-test-{os.getpid()}-{threading.get_ident()}"
    return name if kind is str else name.encode()


@pytest.fixture(params=["str", "bytes", "PathLike", "abstract str", "abstract bytes"])
def address(request, path):
    return {
        "str": path,
        "bytes": os.fsencode(path),
        "PathLike": Path(path),
        "abstract str": abstract(str),
        "abstract bytes": abstract(bytes),
    }[request.param]


async def test_every_sort_of_path(address):
    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(Greeter, address):
        transport, protocol = await loop.create_unix_connection(Collector, address)
        assert await protocol.lost is None
        assert protocol.data == b"hello"
        assert transport.is_closing()


async def test_information(path):
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.set_result(transport)

    async with await loop.create_unix_server(Accepting, path):
        near, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        far = await accepted
        assert near.get_extra_info("peername") == path
        assert near.get_extra_info("sockname") == ""
        assert far.get_extra_info("peername") == ""
        assert far.get_extra_info("sockname") == path
        sock = far.get_extra_info("socket")
        assert sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        assert struct.unpack("3i", credentials) == (os.getpid(), os.getuid(), os.getgid())
        near.close()
        far.close()


async def test_an_abstract_name_is_bytes_in_return():
    loop = asyncio.get_running_loop()
    name = abstract(bytes)
    async with await loop.create_unix_server(Greeter, name) as server:
        assert server.sockets[0].getsockname() == name
        transport, protocol = await loop.create_unix_connection(Collector, name)
        assert transport.get_extra_info("peername") == name
        await protocol.lost


async def test_a_socket_of_the_caller():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with far:
        assert near.gettimeout() is None
        transport, protocol = await loop.create_unix_connection(Collector, sock=near)
        assert near.gettimeout() == 0
        far.sendall(b"abc")
        far.shutdown(socket.SHUT_WR)
        await protocol.lost
        assert protocol.data == b"abc"
        assert transport.get_extra_info("peername") == ""
    await asyncio.sleep(0)
    assert near.fileno() == -1


async def test_nobody_listens(path):
    loop = asyncio.get_running_loop()
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_connection(asyncio.Protocol, path)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_unix_connection(asyncio.Protocol, path)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_unix_connection(asyncio.Protocol, abstract(str))


async def test_a_path_that_is_too_long():
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_connection(asyncio.Protocol, "/tmp/" + "x" * 200)


@pytest.mark.penstock_only("asyncio makes a transport of a socket that is not connected")
async def test_a_full_backlog(path):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        first, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        with pytest.raises(BlockingIOError):
            await loop.create_unix_connection(asyncio.Protocol, path)
        first.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no path and sock were specified"),
        ({"path": "x", "sock": "near"}, "path and sock can not be specified at the same time"),
        ({"path": "x", "ssl": True}, "you have to pass server_hostname when using ssl"),
        ({"path": "x", "server_hostname": "h"}, "server_hostname is only meaningful with ssl"),
        ({"path": "x", "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful"),
        ({"path": "x", "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful"),
        ({"sock": "tcp"}, "A UNIX Domain Stream Socket was expected, got <socket"),
        ({"sock": "datagram"}, "A UNIX Domain Stream Socket was expected, got <socket"),
    ],
)
async def test_arguments_that_are_refused(arguments, message):
    kinds = {
        "near": (socket.AF_UNIX, socket.SOCK_STREAM),
        "tcp": (socket.AF_INET, socket.SOCK_STREAM),
        "datagram": (socket.AF_UNIX, socket.SOCK_DGRAM),
    }
    loop = asyncio.get_running_loop()
    with socket.socket(*kinds.get(arguments.get("sock"), kinds["near"])) as sock:
        if "sock" in arguments:
            arguments = {**arguments, "sock": sock}
        with pytest.raises(ValueError, match=message):
            await loop.create_unix_connection(asyncio.Protocol, **arguments)
        assert sock.fileno() != -1


@pytest.mark.penstock_only("asyncio leaves the socket to the garbage collector")
async def test_a_factory_that_fails_leaves_no_socket(path, fds):
    def fail():
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(Greeter, path):
        before = fds()
        with pytest.raises(ZeroDivisionError):
            await loop.create_unix_connection(fail, path)
        for _ in range(5):
            await asyncio.sleep(0)
        assert fds() == before


async def test_streams(path):
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()


async def test_half_close_still_delivers_the_answer(path):
    async def serve(reader, writer):
        writer.write(await reader.read())
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert await reader.read() == b"x" * 1_000_000
        writer.close()
        await writer.wait_closed()
