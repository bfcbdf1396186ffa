"""Stream transports that are connected already."""

import asyncio
import socket
import tempfile

from .ends import Filler, Listener, aborting, pair
from .scene import scene


@scene
async def a_transport(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    protocol = Listener()
    with far, near, aborting([protocol]):
        with short:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, near)
            repr(transport)
            transport.get_extra_info("peername")
            transport.get_extra_info("socket").getsockname()
            transport.is_closing(), transport.get_protocol()
            far.send(b"x")
            short.expect(await protocol.until(lambda it: it.received == b"x"))
            transport.close()
            await protocol.until(lambda it: it.lost)


async def transfer(short, near_kind, far_kind):
    async with pair(near_kind, far_kind) as (near, far):
        with short:
            near.transport.write(b"a" * 10)
            near.transport.writelines([b"b" * 10, bytearray(b"c" * 10)])
            near.transport.write(b"")
            short.expect(await far.until(lambda it: len(it.received) == 30))
            short.expect(far.received == b"a" * 10 + b"b" * 10 + b"c" * 10)


@scene
async def writes(short):
    await transfer(short, Listener, Listener)


@scene
async def buffered_reads(short):
    await transfer(short, Listener, Filler)


@scene
async def large_writes(short):
    async with pair() as (near, far):
        with short:
            far.transport.pause_reading()
            far.transport.set_write_buffer_limits(high=10)
            near.transport.set_write_buffer_limits(low=5, high=10)
            near.transport.write(b"x" * 400_000)
            near.transport.write(bytearray(b"y" * 100_000))
            near.transport.writelines([b"z" * 50_000, b"z" * 50_000])
            near.transport.get_write_buffer_size()
            near.transport.get_write_buffer_limits()
            far.transport.resume_reading()
            short.expect(await far.until(lambda it: len(it.received) == 600_000))
            near.transport.write_eof()
            short.expect(await far.until(lambda it: it.ended))


@scene
async def a_lost_connection(short):
    async with pair() as (near, far):
        near.transport.write(b"x")
        await far.until(lambda it: it.received)
        with short:
            far.transport.abort()
            await far.until(lambda it: it.lost)
            await near.until(lambda it: it.lost or it.ended)
            near.transport.write(b"x")
            near.transport.close()
            await near.until(lambda it: it.lost)


@scene
async def a_protocol_that_fails(short):
    class Failing(Listener):
        def data_received(self, data):
            raise ValueError

    async with pair(Listener, Failing) as (near, far):
        with short:
            near.transport.write(b"x")
            await far.until(lambda it: it.lost)
            short.expect(short.told)


@scene
async def sendfile(short):
    loop = asyncio.get_running_loop()
    async with pair() as (near, far):
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 300_000)
            file.flush()
            with short:
                await loop.sendfile(near.transport, file)
                near.transport.close()
                short.expect(await far.until(lambda it: len(it.received) == 300_000))
