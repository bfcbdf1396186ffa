"""Servers, and who connects to them."""

import asyncio
import contextlib
import os
import socket
import tempfile

from .ends import Listener, aborting
from .scene import scene, turns


@scene
async def a_connection(short):
    loop = asyncio.get_running_loop()
    served = []

    def serve():
        served.append(Listener())
        return served[-1]

    async with await loop.create_server(serve, "127.0.0.1", 0) as server:
        client = Listener()
        with aborting([client]), aborting(served), short:
            address = server.sockets[0].getsockname()
            await loop.create_connection(lambda: client, *address)
            client.transport.write(b"question")
            while not (served and served[0].transport):
                if client.ended or client.lost:
                    return  # of what accepting fails is told in debug mode, as in asyncio
                await asyncio.sleep(0.001)
            (other,) = served
            short.expect(await other.until(lambda it: it.received == b"question"))
            other.transport.close()
            await client.until(lambda it: it.ended)


@scene
async def a_server(short):
    loop = asyncio.get_running_loop()
    server = None
    try:
        with short:
            server = await loop.create_server(Listener, "127.0.0.1", 0)
            server.get_loop(), server.sockets
            server.close()
            await server.wait_closed()
    finally:
        if server is not None:
            server.close()


@scene
async def streams(short):
    async def serve(reader, writer):
        # Even where it is cancelled: else its socket is open until garbage is collected.
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(await reader.readline())
            await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        writer = None
        try:
            with short:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"question\n")
                # Of what accepting fails is told in debug mode, as in asyncio.
                short.expect(await reader.read() in (b"question\n", b""))
        finally:
            if writer is not None:
                writer.transport.abort()


@scene
async def a_failed_connection(short):
    loop = asyncio.get_running_loop()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with short:
            try:
                await loop.create_connection(Listener, *unused.getsockname())
            except ConnectionRefusedError:
                pass
            else:
                short.expect(False)


@scene
async def unix(short):
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        client = Listener()
        async with await loop.create_unix_server(Listener, path):
            with aborting([client]), short:
                await loop.create_unix_connection(lambda: client, path)
                client.transport.get_extra_info("peername")
                client.transport.get_extra_info("sockname")
                await turns()
