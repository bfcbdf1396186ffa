"""create_connection and connect_accepted_socket."""

import asyncio
import socket

import pytest

from ..scenario import scenario


async def close(made):
    """What create_connection() and its like return; None where they were cancelled."""
    if made is None:
        return
    made[0].close()
    sock = made[0].get_extra_info("socket")
    while sock is not None and sock.fileno() != -1:
        await asyncio.sleep(0)


@scenario("create_connection")
async def to_an_address(stage):
    address = stage.listener().getsockname()
    made = yield stage.loop.create_connection(asyncio.Protocol, *address)
    await close(made)


@scenario("create_connection")
async def to_a_name(stage):
    port = stage.listener().getsockname()[1]
    made = yield stage.loop.create_connection(asyncio.Protocol, "localhost", port)
    await close(made)


@scenario("create_connection")
async def from_a_local_address(stage):
    made = yield stage.loop.create_connection(
        asyncio.Protocol, *stage.listener().getsockname(), local_addr=("localhost", 0)
    )
    await close(made)


@scenario("create_connection", endless=True)
async def without_answer(stage):
    yield stage.loop.create_connection(asyncio.Protocol, *stage.full().getsockname())


@scenario("create_connection")
async def to_nobody(stage):
    async def connect():
        with pytest.raises(ConnectionRefusedError):
            await stage.loop.create_connection(
                asyncio.Protocol, "localhost", stage.unused_port(), family=socket.AF_INET
            )

    yield connect()


@scenario("create_connection")
async def of_a_socket(stage):
    near, _ = stage.connection()
    made = yield stage.loop.create_connection(asyncio.Protocol, sock=near)
    assert made is not None or near.fileno() == -1  # the transport's from the beginning
    await close(made)


@scenario("create_connection", asyncio_fails="it leaves a socket that was connecting")
async def with_happy_eyeballs(stage):
    port = stage.listener().getsockname()[1]
    made = yield stage.loop.create_connection(
        asyncio.Protocol, "localhost", port, happy_eyeballs_delay=0.001
    )
    await close(made)


@scenario("create_connection", asyncio_fails="it leaves a socket that was connecting")
async def with_happy_eyeballs_over_many(stage):
    """One that refuses, one that never answers, and two that do."""
    hosts = [("127.0.0.1", stage.unused_port()), stage.full().getsockname()]
    hosts += [stage.listener().getsockname() for _ in range(2)]

    async def getaddrinfo(*args, **kwargs):
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in hosts]

    stage.replace(stage.loop, "getaddrinfo", getaddrinfo)
    made = yield stage.loop.create_connection(
        asyncio.Protocol, "name", 1, happy_eyeballs_delay=0.001
    )
    await close(made)


@scenario("connect_accepted_socket")
async def accepted(stage):
    near, _ = stage.connection()
    made = yield stage.loop.connect_accepted_socket(asyncio.Protocol, near)
    await close(made)
