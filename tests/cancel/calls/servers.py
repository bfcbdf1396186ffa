"""create_server, and what its Server waits for."""

import asyncio
import sys

from ..scenario import scenario

LEAKS = "it leaves what it has bound"


async def close(server):
    if server is not None:
        server.close()
        await server.wait_closed()


@scenario("create_server", asyncio_fails=LEAKS)
async def on_an_address(stage):
    await close((yield stage.loop.create_server(asyncio.Protocol, "127.0.0.1", 0)))


@scenario("create_server", asyncio_fails=LEAKS)
async def on_a_name(stage):
    await close((yield stage.loop.create_server(asyncio.Protocol, "localhost", 0)))


@scenario("create_server", asyncio_fails=LEAKS)
async def on_several(stage):
    hosts = ["127.0.0.1", "localhost", "127.0.0.2"]
    await close((yield stage.loop.create_server(asyncio.Protocol, hosts, 0)))


@scenario("create_server")
async def without_start(stage):
    await close(
        (yield stage.loop.create_server(asyncio.Protocol, "localhost", 0, start_serving=False))
    )


@scenario("create_server", asyncio_fails="it accepts on the socket from then on")
async def on_a_socket(stage):
    sock = stage.socket()
    sock.bind(("127.0.0.1", 0))
    server = yield stage.loop.create_server(asyncio.Protocol, sock=sock)
    if server is not None:
        await close(server)
        return
    # The caller's until there is a server; and nobody else accepts on it.
    sock.listen()
    stage.socket().connect_ex(sock.getsockname())
    for _ in range(3):
        await asyncio.sleep(0)
    sock.accept()[0].close()


@scenario("Server.start_serving")
async def start_serving(stage):
    server = await stage.loop.create_server(asyncio.Protocol, "127.0.0.1", 0, start_serving=False)

    async def start():
        try:
            await server.start_serving()
        finally:
            server.close()  # it does serve, whether or not its start was waited for

    yield start()


@scenario("Server.serve_forever", endless=True)
async def serve_forever(stage):
    server = await stage.loop.create_server(asyncio.Protocol, "127.0.0.1", 0, start_serving=False)
    yield server.serve_forever()
    assert not server.is_serving()


@scenario(
    "Server.wait_closed",
    asyncio_fails=None if sys.version_info >= (3, 12, 1) else "it does not wait before 3.12.1",
)
async def wait_closed(stage):
    """Two wait for a connection, and one of them is cancelled."""
    clients = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            clients.append(transport)

    server = await stage.loop.create_server(Protocol, "127.0.0.1", 0)
    client = stage.socket()
    client.connect_ex(server.sockets[0].getsockname())
    while not clients:
        await asyncio.sleep(0)
    server.close()
    other = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(0)
    yield server.wait_closed(), clients[0].abort
    clients[0].abort()
    await other
