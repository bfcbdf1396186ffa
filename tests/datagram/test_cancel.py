"""Cancelled at every await point: nothing is left open."""

import asyncio
import gc
import socket

import pytest


async def settle(fds, before):
    """A look-up in a thread may have files open after its caller was cancelled."""
    async with asyncio.timeout(10):
        while fds().keys() != before.keys():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_create_datagram_endpoint(recorder, closed_port, fds, tmp_path, host, family):
    loop = asyncio.get_running_loop()
    if family == socket.AF_UNIX:
        options = {"local_addr": str(tmp_path / "socket")}
    else:
        options = {"local_addr": (host, 0), "remote_addr": (host, closed_port[1])}

    def call():
        return loop.create_datagram_endpoint(recorder, family=family, **options)

    transport, protocol = await call()  # what the loop opens once, it opens now
    transport.close()
    await protocol.lost
    await loop.run_in_executor(None, int)
    gc.collect()
    before = fds()
    turns = attempts = 0
    while True:
        task = asyncio.create_task(call())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            transport, protocol = await task
        except asyncio.CancelledError:
            attempts += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        else:
            transport.close()
            await protocol.lost
        gc.collect()
        await settle(fds, before)
        if task.cancelled():
            # A look-up takes a while, and not the same number of turns each time.
            turns += 1 if turns < 20 else turns
        else:
            break
    assert attempts > 1
