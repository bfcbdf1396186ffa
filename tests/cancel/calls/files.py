"""sendfile and sock_sendfile, and what they do where the kernel doesn't."""

import asyncio
import io

from ..scenario import scenario
from ..stage import MORE_THAN_FITS


@scenario("sock_sendfile")
async def by_the_kernel(stage):
    near, far = stage.pair()
    file = stage.file(MORE_THAN_FITS)
    yield stage.loop.sock_sendfile(near, file), stage.sink(far)


@scenario("sock_sendfile")
async def by_hand(stage):
    near, far = stage.pair()
    yield stage.loop.sock_sendfile(near, io.BytesIO(MORE_THAN_FITS)), stage.sink(far)


@scenario("sendfile")
async def of_a_transport(stage):
    near, far = stage.pair()
    transport, _ = await stage.loop.create_connection(asyncio.Protocol, sock=near)
    yield stage.loop.sendfile(transport, stage.file(MORE_THAN_FITS)), stage.sink(far)
    transport.abort()
    await asyncio.sleep(0)


@scenario("sendfile", asyncio_fails="its transport sets the result of a waiter that is cancelled")
async def behind_what_was_written(stage):
    near, far = stage.pair()
    transport, _ = await stage.loop.create_connection(asyncio.Protocol, sock=near)
    file = stage.file(bytes(10_000))

    async def send():
        transport.write(MORE_THAN_FITS)
        await stage.loop.sendfile(transport, file)

    yield send(), stage.sink(far)
    transport.abort()
    await asyncio.sleep(0)
