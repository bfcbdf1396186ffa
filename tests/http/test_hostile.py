"""Clients that do anything at any moment: the server answers the next one, and nothing is left."""

import asyncio
import random

import pytest

from .hostile import app, misbehave

SEED = 20261126
CLIENTS = 400
AT_ONCE = 20


@pytest.mark.parametrize("part", range(3))
async def test_clients_that_do_anything(serve, part):
    options = {"timeout_linger": 0.2, "timeout_graceful_shutdown": 0.5, "limit_pipelined": 1000}
    async with serve(app, log_level="critical", **options) as serving:

        async def some(number):
            chance = random.Random(f"{SEED} {part} {number}")
            for _ in range(CLIENTS // AT_ONCE):
                streams = await asyncio.open_connection("127.0.0.1", serving.port)
                await misbehave(*streams, chance)

        await asyncio.gather(*map(some, range(AT_ONCE)))
        status, _, content = await serving.get()
        assert (status, content) == (200, b"Hello, world")
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left
    assert serving.server.connections == 0
