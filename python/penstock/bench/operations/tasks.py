"""Tasks and futures, alone and in groups."""

import asyncio

from . import nothing


async def sleep_zero(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def future(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        answer = loop.create_future()
        loop.call_soon(answer.set_result, None)
        await answer


async def create_task(count: int) -> None:
    for _ in range(count):
        await asyncio.create_task(nothing())


async def gather(count: int) -> None:
    for _ in range(count // 100):
        await asyncio.gather(*(nothing() for _ in range(100)))


async def task_group(count: int) -> None:
    for _ in range(count // 100):
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(nothing())


async def wait(count: int) -> None:
    for _ in range(count // 100):
        await asyncio.wait([asyncio.create_task(nothing()) for _ in range(100)])


async def as_completed(count: int) -> None:
    for _ in range(count // 100):
        for done in asyncio.as_completed([nothing() for _ in range(100)]):
            await done


async def shield(count: int) -> None:
    for _ in range(count):
        await asyncio.shield(nothing())


async def to_thread(count: int) -> None:
    for _ in range(count):
        await asyncio.to_thread(int)
