"""Unix sockets."""

import asyncio
import pathlib
import socket

from ..scenario import scenario
from .connections import close
from .servers import LEAKS
from .servers import close as close_server


def listener(stage):
    sock = stage.socket(socket.AF_UNIX)
    sock.bind(f"{stage.folder()}/socket")
    sock.listen()
    return sock


@scenario("create_unix_connection")
async def to_a_path(stage):
    path = listener(stage).getsockname()
    await close((yield stage.loop.create_unix_connection(asyncio.Protocol, path)))


@scenario("create_unix_connection")
async def of_a_socket(stage):
    near, _ = stage.pair()
    await close((yield stage.loop.create_unix_connection(asyncio.Protocol, sock=near)))


@scenario("create_unix_server", asyncio_fails=LEAKS)
async def at_a_path(stage):
    path = pathlib.Path(stage.folder(), "socket")
    server = yield stage.loop.create_unix_server(asyncio.Protocol, path, cleanup_socket=True)
    await close_server(server)
    assert not path.exists()


@scenario("create_unix_server", asyncio_fails=LEAKS)
async def at_an_abstract_name(stage):
    name = f"\0penstock-{id(stage)}"
    await close_server((yield stage.loop.create_unix_server(asyncio.Protocol, name)))


@scenario("create_unix_server", asyncio_fails="it accepts on the socket from then on")
async def on_a_socket(stage):
    sock = listener(stage)
    server = yield stage.loop.create_unix_server(asyncio.Protocol, sock=sock)
    assert server is not None or sock.fileno() != -1
    await close_server(server)
