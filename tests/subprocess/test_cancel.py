"""Starting a child, cancelled wherever it waits: no child, no descriptor, no task is left."""

import asyncio
import signal

import pytest

from .conftest import children

pytestmark = pytest.mark.usefixtures("way")

TURNS = 12  # more than it takes


@pytest.mark.asyncio_since(3, 15)
@pytest.mark.parametrize("turns", range(TURNS))
async def test_after_some_turns(turns):
    loop = asyncio.get_running_loop()
    starting = loop.create_task(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "100"))
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    try:
        transport, _ = await asyncio.wait_for(starting, 10)
    except asyncio.CancelledError:
        pass
    else:
        transport.close()
        await transport._wait()
    await no_tasks()


@pytest.mark.penstock_only("asyncio leaves pipes that connect late to the garbage collector")
@pytest.mark.parametrize("turns", range(TURNS))
async def test_twice(turns):
    loop = asyncio.get_running_loop()
    starting = loop.create_task(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "100"))
    await asyncio.sleep(0)
    starting.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, 10)
    await no_tasks()


@pytest.mark.penstock_only("asyncio waits for ever")
@pytest.mark.parametrize("turns", range(6))
async def test_all_tasks_at_once(turns):
    loop = asyncio.get_running_loop()
    starting = loop.create_task(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "100"))
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    try:
        transport, _ = await asyncio.wait_for(starting, 10)
    except asyncio.CancelledError:
        pass
    else:
        transport.close()
        await transport._wait()
    await no_tasks()


@pytest.mark.penstock_only("asyncio waits for the pipes that nobody reads")
async def test_communicate():
    cat = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    talking = asyncio.ensure_future(cat.communicate(bytes(10_000_000)))
    for _ in range(5):
        await asyncio.sleep(0)
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking
    cat.kill()
    assert await asyncio.wait_for(cat.wait(), 10) == -signal.SIGKILL
    cat._transport.close()
    await no_tasks()


async def no_tasks():
    """Nor children: the loop reaps whom a cancelled call has killed."""
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1 or children():
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
