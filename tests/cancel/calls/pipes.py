"""Pipes, whose file is the transport's from the call on."""

import asyncio

from ..scenario import scenario
from .connections import close


@scenario("connect_read_pipe")
async def connect_read_pipe(stage):
    read_end, _ = stage.pipe()
    made = yield stage.loop.connect_read_pipe(asyncio.Protocol, read_end)
    assert made is not None or read_end.closed
    await close(made)


@scenario("connect_write_pipe")
async def connect_write_pipe(stage):
    _, write_end = stage.pipe()
    made = yield stage.loop.connect_write_pipe(asyncio.BaseProtocol, write_end)
    assert made is not None or write_end.closed
    await close(made)
