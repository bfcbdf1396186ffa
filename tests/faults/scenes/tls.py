"""TLS over a connection, from its start or later."""

import asyncio
import contextlib
import socket

from tests.certificates import contexts

from .ends import Listener, aborting, pair
from .scene import first_failure, scene


async def secured(short, handshake, transfer):
    """`short` while there is a handshake, or only afterwards."""
    loop = asyncio.get_running_loop()
    client_context, server_context = contexts()
    near, far = socket.socketpair()
    ends = server, client = [Listener(), Listener()]
    with near, far, aborting(ends):

        async def connect():
            both = [
                asyncio.create_task(
                    loop.connect_accepted_socket(
                        lambda: server, near, ssl=server_context, ssl_handshake_timeout=5
                    )
                ),
                asyncio.create_task(
                    loop.create_connection(
                        lambda: client,
                        sock=far,
                        ssl=client_context,
                        server_hostname="localhost",
                        ssl_handshake_timeout=5,
                    )
                ),
            ]
            await first_failure(both)

        with short if handshake else contextlib.nullcontext():
            await connect()
        if transfer and short.error is None:
            with short:
                repr(client.transport)
                client.transport.get_extra_info("cipher")
                client.transport.write(b"question")
                client.transport.writelines([b"!" * 40_000, b"?" * 40_000])
                short.expect(await server.until(lambda it: len(it.received) == 80_008))
                server.transport.pause_reading()
                server.transport.write(b"answer")
                server.transport.resume_reading()
                short.expect(await client.until(lambda it: it.received == b"answer"))
                client.transport.close()
                await server.until(lambda it: it.lost)
                await client.until(lambda it: it.lost)


@scene
async def a_tls_handshake(short):
    await secured(short, handshake=True, transfer=False)


@scene
async def tls(short):
    await secured(short, handshake=False, transfer=True)


@scene
async def start_tls(short):
    loop = asyncio.get_running_loop()
    client_context, server_context = contexts()
    async with pair() as (near, far):
        with short:
            both = [
                asyncio.create_task(
                    loop.start_tls(near.transport, near, server_context, server_side=True)
                ),
                asyncio.create_task(
                    loop.start_tls(far.transport, far, client_context, server_hostname="localhost")
                ),
            ]
            server, client = await first_failure(both)
            server.write(b"question")
            short.expect(await far.until(lambda it: it.received == b"question"))
            client.abort()
            server.abort()
