import asyncio

import penstock
import pytest


@pytest.mark.asyncio
async def test_sleep_takes_its_time():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, penstock.Loop)
    before = loop.time()
    await asyncio.sleep(0.01)
    assert loop.time() - before >= 0.01
