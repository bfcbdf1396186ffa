"""Descriptors and sockets of the caller's own."""

import asyncio
import socket

from .scene import first_failure, scene, turns


@scene
async def descriptors(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        came = loop.create_future()
        try:
            with short:
                loop.add_reader(far, lambda: came.done() or came.set_result(far.recv(9)))
                loop.add_writer(near, lambda: came.done() or near.send(b"x"))
                short.expect(await came in (b"x", b"xx"))
        finally:
            loop.remove_reader(far)
            loop.remove_writer(near)


@scene
async def many_descriptors(short):
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(40)]
    came = [loop.create_future() for _ in pairs]

    def come(i):
        if not came[i].done():
            came[i].set_result(pairs[i][0].recv(1))

    try:
        with short:
            for i, (near, far) in enumerate(pairs):
                loop.add_reader(near, come, i)
                far.send(b"x")
            for one in came:
                short.expect(await one == b"x")
    finally:
        for near, far in pairs:
            loop.remove_reader(near)
            near.close()
            far.close()


@scene
async def sockets(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        with short:
            buffer = bytearray(10)
            waiting = loop.create_task(loop.sock_recv(far, 10))
            await turns()
            await loop.sock_sendall(near, b"one")
            short.expect(await waiting == b"one")
            await loop.sock_sendall(near, b"two")
            short.expect(await loop.sock_recv_into(far, buffer) == 3)


@scene
async def a_full_socket(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    size = 600_000  # more than fits

    async def drain():
        left = size
        while left:
            left -= len(await loop.sock_recv(far, 100_000))

    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        with short:
            fill = loop.create_task(loop.sock_sendall(near, bytes(size)))
            await first_failure([fill, loop.create_task(drain())])
            short.expect(fill.done())


@scene
async def sockets_that_connect(short):
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        server.setblocking(False)
        client.setblocking(False)
        with short:
            await loop.sock_connect(client, server.getsockname())
            accepted, _ = await loop.sock_accept(server)
            accepted.close()


@scene
async def datagram_sockets(short):
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for end in (near, far):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        with short:
            waiting = loop.create_task(loop.sock_recvfrom(far, 10))
            await turns()
            await loop.sock_sendto(near, b"x", far.getsockname())
            short.expect(await waiting == (b"x", near.getsockname()))
