"""create_unix_server: its file, and what becomes of it."""

import asyncio
import errno
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

CLEANS_UP = sys.version_info >= (3, 13)


async def serve(path=None, **options):
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(asyncio.Protocol, path, **options)


async def test_it_serves(path):
    async with await serve(path) as server:
        assert server.is_serving()
        assert isinstance(server, asyncio.Server)
        (listening,) = server.sockets
        assert listening.family == socket.AF_UNIX and listening.getsockname() == path
        assert repr(server) == f"<Server sockets={server.sockets!r}>"
        assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert server.sockets == () and not server.is_serving()


async def test_it_serves_when_told_to(path):
    server = await serve(path, start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
    await server.start_serving()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
    server.close()
    await server.wait_closed()


async def test_the_file_is_removed_or_not(path):
    async with await serve(path):
        pass
    assert Path(path).exists() is not CLEANS_UP


@pytest.mark.asyncio_since(3, 13)
@pytest.mark.parametrize("cleans", [True, False])
async def test_cleanup_socket(path, cleans):
    async with await serve(path, cleanup_socket=cleans):
        assert Path(path).exists()
    assert Path(path).exists() is not cleans


@pytest.mark.asyncio_since(3, 13)
async def test_cleanup_of_a_socket_of_the_caller(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with await serve(sock=sock, cleanup_socket=True):
        assert Path(path).exists()
    assert not Path(path).exists() and sock.fileno() == -1


@pytest.mark.asyncio_since(3, 13)
async def test_cleanup_of_an_abstract_name():
    name = f"\0penstock-test-server-{os.getpid()}"
    async with await serve(name, cleanup_socket=True):
        pass


@pytest.mark.asyncio_since(3, 13)
async def test_cleanup_of_a_file_that_is_gone(path):
    async with await serve(path, cleanup_socket=True):
        os.unlink(path)
    assert not Path(path).exists()


@pytest.mark.asyncio_since(3, 13)
async def test_cleanup_leaves_another_servers_file(path):
    first = await serve(path, cleanup_socket=True)
    os.rename(path, path + ".old")  # keeps the inode in use, so that no other gets its number
    second = await serve(path, cleanup_socket=True)
    first.close()
    assert Path(path).exists()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
    second.close()
    assert not Path(path).exists()


@pytest.mark.asyncio_since(3, 13)
async def test_cleanup_that_fails_is_logged(path, caplog):
    if os.geteuid() == 0:
        pytest.skip("root may remove what it likes")
    server = await serve(path, cleanup_socket=True)
    os.chmod(os.path.dirname(path), 0o500)
    try:
        server.close()
    finally:
        os.chmod(os.path.dirname(path), 0o700)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Unable to clean up listening UNIX socket {path!r}: ")


async def test_a_stale_file_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    inode = os.stat(path).st_ino
    os.rename(path, path + ".old")
    os.link(path + ".old", path)
    async with await serve(path):
        assert os.stat(path).st_ino != inode


async def test_other_files_are_not_replaced(path):
    Path(path).write_text("precious")
    with pytest.raises(OSError, match=f"Address {path!r} is already in use") as caught:
        await serve(path)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert Path(path).read_text() == "precious"


async def test_an_abstract_name_in_use():
    name = f"\0penstock-test-used-{os.getpid()}"
    async with await serve(name):
        with pytest.raises(OSError, match="is already in use") as caught:
            await serve(name)
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_path_that_cannot_be_checked(path, caplog):
    Path(path).write_text("no directory")
    with pytest.raises(NotADirectoryError):
        await serve(path + "/socket")
    (record,) = caplog.records
    assert record.getMessage().startswith("Unable to check or remove stale UNIX socket ")


async def test_no_such_directory(path):
    with pytest.raises(FileNotFoundError):
        await serve(path + "/missing/socket")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
async def test_the_files_mode_is_the_umasks(path, mask):
    before = os.umask(mask)
    try:
        server = await serve(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o777 & ~mask
    server.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "path was not specified, and no sock specified"),
        ({"path": "x", "sock": socket.AF_UNIX}, ValueError, "path and sock can not be specified"),
        ({"path": "x", "ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
        ({"path": "x", "ssl_handshake_timeout": 1}, ValueError, "ssl_handshake_timeout is only"),
        ({"path": "x", "ssl_shutdown_timeout": 1}, ValueError, "ssl_shutdown_timeout is only"),
        ({"sock": socket.AF_INET}, ValueError, "A UNIX Domain Stream Socket was expected, got"),
    ],
)
async def test_arguments_that_are_refused(arguments, error, message):
    with socket.socket(arguments.get("sock", socket.AF_UNIX)) as sock:
        if "sock" in arguments:
            arguments = {**arguments, "sock": sock}
        with pytest.raises(error, match=message):
            await serve(**arguments)
        assert sock.fileno() != -1


async def test_closing_twice(path):
    server = await serve(path)
    server.close()
    server.close()
    await server.wait_closed()


async def test_many_clients_at_once(path):
    async def echo(reader, writer):
        writer.write(await reader.readexactly(1000))
        writer.close()

    async def talk(number):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(bytes([number]) * 1000)
        assert await reader.read() == bytes([number]) * 1000
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(echo, path):
        await asyncio.gather(*map(talk, range(100)))
