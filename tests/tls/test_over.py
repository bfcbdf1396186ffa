"""TLS over what is no TCP, and files over TLS."""

import asyncio
import socket


async def test_a_socket_pair(recorder, peer, server_context, client_context):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.create_connection(
                recorder, sock=near, ssl=client_context, server_hostname="localhost"
            )
        )
        other = peer(far, server_context, server_side=True)
        await other.handshake()
        transport, protocol = await connecting
        await other.send(b"hello")
        assert await protocol.received(5) == b"hello"
        transport.abort()
        await protocol.lost


async def test_unix_server_and_connection(tmp_path, server_context, client_context):
    async def handler(reader, writer):
        assert writer.get_extra_info("cipher")
        writer.write(await reader.readline())
        writer.close()

    path = str(tmp_path / "socket")
    async with await asyncio.start_unix_server(handler, path, ssl=server_context):
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()


async def test_sendfile(serve, recorder, tmp_path):
    protocol, peer = await serve(recorder)
    data = bytes(range(256)) * 10_000
    path = tmp_path / "file"
    path.write_bytes(data)
    loop = asyncio.get_running_loop()
    with path.open("rb") as file:
        sending = loop.create_task(loop.sendfile(protocol.transport, file, 256))
        assert await peer.read_exactly(len(data) - 256) == data[256:]
        assert await sending == len(data) - 256
    protocol.transport.abort()
    await protocol.lost
