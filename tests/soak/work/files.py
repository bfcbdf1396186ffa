"""sendfile and pipes."""

import asyncio
import os
import random
import socket

from tests.soak.ground import MORE_THAN_FITS, Ground

from . import kind


@kind()
async def sendfile(ground: Ground, rng: random.Random) -> None:
    offset, size = rng.randint(0, 1000), rng.choice((1, 5000, 500_000))
    async with ground.connection(rng.choice(("tcp", "unix", "tls"))) as (reader, writer):
        writer.write(b"echo\n")
        with open(ground.file, "rb") as file:
            sending = asyncio.create_task(
                ground.loop.sendfile(writer.transport, file, offset, size)
            )
            try:
                assert await reader.readexactly(size) == ground.data[offset : offset + size]
                assert await sending == size
            finally:
                sending.cancel()
                await asyncio.wait([sending])


@kind()
async def sock_sendfile(ground: Ground, rng: random.Random) -> None:
    near, far = socket.socketpair()
    with near, far, open(ground.file, "rb") as file:
        near.setblocking(False)
        far.setblocking(False)
        sending = asyncio.create_task(ground.loop.sock_sendfile(near, file))
        try:
            left = MORE_THAN_FITS
            while left:
                left -= len(await ground.loop.sock_recv(far, 100_000))
            assert await sending == MORE_THAN_FITS
        finally:
            sending.cancel()
            await asyncio.wait([sending])


@kind()
async def pipes(ground: Ground, rng: random.Random) -> None:
    size = rng.choice((1, 4000, 300_000))
    ends = os.pipe()
    files = os.fdopen(ends[0], "rb", 0), os.fdopen(ends[1], "wb", 0)
    transports: list[asyncio.BaseTransport] = []
    try:
        reader = asyncio.StreamReader()
        transport, _ = await ground.loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), files[0]
        )
        transports.append(transport)
        transport, _ = await ground.loop.connect_write_pipe(asyncio.Protocol, files[1])
        transports.append(transport)
        transport.write(ground.data[:size])
        assert await reader.readexactly(size) == ground.data[:size]
        transport.write_eof()
        assert await reader.read() == b""
    finally:
        for transport in transports:
            transport.close()
        if len(transports) < 2:  # what no transport has got
            for file in files[len(transports) :]:
                file.close()
