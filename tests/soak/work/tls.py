"""TLS where it is more than echo over another kind of connection."""

import asyncio
import random
import ssl

from tests.soak.ground import MORE_THAN_FITS, Ground

from . import kind


@kind(weight=15)
async def upgrade(ground: Ground, rng: random.Random) -> None:
    async with ground.connection(rng.choice(("tcp", "unix"))) as (reader, writer):
        writer.write(b"upgrade\n")
        assert await reader.readline() == b"go on\n"
        await writer.start_tls(ground.client_tls, server_hostname="localhost")
        size = rng.choice((1, 3000, 100_000))
        writer.write(ground.data[:size])
        assert await reader.readexactly(size) == ground.data[:size]


@kind()
async def upgrade_protocol(ground: Ground, rng: random.Random) -> None:
    """start_tls() of the loop, cut off by its own limit at times."""
    reader, writer = await ground.open("tcp")
    transport = writer.transport
    try:
        writer.write(b"upgrade\n")
        await reader.readline()
        protocol = asyncio.Protocol()
        limit = rng.choice((0.0005, 30))
        try:
            transport = await ground.loop.start_tls(
                transport,
                protocol,
                ground.client_tls,
                server_hostname="localhost",
                ssl_handshake_timeout=limit,
            )
        except ConnectionAbortedError:
            assert limit < 1
            return
        transport.write(b"hello")
        await asyncio.sleep(0)
    finally:
        transport.abort()
        writer.transport.abort()


@kind()
async def distrust(ground: Ground, rng: random.Random) -> None:
    try:
        await asyncio.open_connection(
            *ground.tls_address, ssl=ground.distrustful_tls, server_hostname="localhost"
        )
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("trusted nobody's certificate")


@kind(expects=(ConnectionError, ssl.SSLError))
async def greet_without_tls(ground: Ground, rng: random.Random) -> None:
    """What comes in place of a handshake, or of its end, is none."""
    reader, writer = await asyncio.open_connection(*ground.tls_address)
    try:
        writer.write(rng.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"")))
        if rng.random() < 0.5:
            writer.write_eof()
            await reader.read()
    finally:
        writer.transport.abort()


@kind()
async def close_under_load(ground: Ground, rng: random.Random) -> None:
    async with ground.connection("tls") as (reader, writer):
        writer.write(b"flood %d\n" % MORE_THAN_FITS)
        await reader.read(1)
        writer.write(ground.data[: rng.choice((10, MORE_THAN_FITS))])
        writer.transport.abort()
