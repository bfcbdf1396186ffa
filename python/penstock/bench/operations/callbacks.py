"""Callbacks and timers: what the loop itself does."""

import asyncio


async def call_soon(count: int) -> None:
    """Each callback schedules the next."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


async def call_later(count: int) -> None:
    """Timers that never fire, as deadlines mostly do not: a hundred are pending at a time."""
    loop = asyncio.get_running_loop()
    for _ in range(count // 100):
        for handle in [loop.call_later(10 + number % 7, print) for number in range(100)]:
            handle.cancel()
        await asyncio.sleep(0)


async def sleepers(count: int) -> None:
    """A hundred tasks at a time sleep for up to a millisecond."""

    async def doze(number: int) -> None:
        await asyncio.sleep(number * 1e-5)

    for _ in range(count // 100):
        await asyncio.gather(*(doze(number) for number in range(100)))
