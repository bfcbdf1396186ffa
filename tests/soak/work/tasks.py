"""Tasks, futures, timers, and what the standard library builds upon them."""

import asyncio
import contextlib
import contextvars
import random

from tests.soak.ground import Ground

from . import kind

VALUE: contextvars.ContextVar[int] = contextvars.ContextVar("VALUE")


class Fault(Exception):
    pass


async def nap(rng: random.Random) -> int:
    for _ in range(rng.randint(0, 4)):
        await asyncio.sleep(rng.choice((0, 0, rng.random() / 1000)))
    return rng.randint(0, 9)


async def fail(rng: random.Random) -> None:
    await nap(rng)
    raise Fault


@kind(weight=20)
async def group(ground: Ground, rng: random.Random) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(rng.randint(1, 10)):
                group.create_task(nap(rng))
            if rng.random() < 0.3:
                group.create_task(fail(rng))
    except* Fault:
        pass


@kind(weight=20)
async def limit(ground: Ground, rng: random.Random) -> None:
    seconds = rng.choice((-1, 0, rng.random() / 1000, 1000))
    with contextlib.suppress(TimeoutError):
        if rng.random() < 0.5:
            await asyncio.wait_for(nap(rng), seconds)
        else:
            async with asyncio.timeout(seconds) as timeout:
                await nap(rng)
                timeout.reschedule(ground.loop.time() + 1000)
                await nap(rng)


@kind(weight=20)
async def gather(ground: Ground, rng: random.Random) -> None:
    works = [rng.choice((nap, fail))(rng) for _ in range(rng.randint(1, 8))]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks, return_exceptions=rng.random() < 0.5)
    except Fault:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()


@kind()
async def shield(ground: Ground, rng: random.Random) -> None:
    inner = asyncio.create_task(nap(rng))
    outer = asyncio.shield(inner)
    if rng.random() < 0.5:
        outer.cancel()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await outer
    finally:
        await inner


@kind()
async def as_completed(ground: Ground, rng: random.Random) -> None:
    tasks = [asyncio.create_task(nap(rng)) for _ in range(rng.randint(1, 8))]
    try:
        for next_one in asyncio.as_completed(tasks):
            await next_one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@kind(weight=20)
async def queue(ground: Ground, rng: random.Random) -> None:
    made = rng.choice((asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue))
    queue = made(rng.randint(0, 3))
    count = rng.randint(1, 50)

    async def produce() -> None:
        for number in range(count):
            await queue.put(number)

    async def consume() -> None:
        while True:
            await queue.get()
            queue.task_done()

    async with asyncio.TaskGroup() as group:
        consumers = [group.create_task(consume()) for _ in range(3)]
        await produce()
        await queue.join()
        for consumer in consumers:
            consumer.cancel()


@kind(weight=20)
async def locks(ground: Ground, rng: random.Random) -> None:
    lock, semaphore = asyncio.Lock(), asyncio.BoundedSemaphore(2)
    condition, event = asyncio.Condition(), asyncio.Event()
    parties = rng.randint(2, 6)
    barrier = asyncio.Barrier(parties)

    async def party() -> None:
        async with lock, semaphore:
            await asyncio.sleep(0)
        await barrier.wait()
        async with condition:
            condition.notify_all()
        await event.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(parties):
            group.create_task(party())
        async with condition:
            await condition.wait()
        event.set()


@kind(weight=20)
async def timers(ground: Ground, rng: random.Random) -> None:
    done = asyncio.Event()
    handles = [ground.loop.call_later(rng.random() * 100, done.set) for _ in range(50)]
    handles.append(ground.loop.call_at(ground.loop.time() + rng.random() / 1000, done.set))
    handles.append(ground.loop.call_soon(VALUE.set, 1))
    try:
        await done.wait()
    finally:
        for handle in handles:
            handle.cancel()


@kind(weight=20)
async def futures(ground: Ground, rng: random.Random) -> None:
    """A chain, the end of which is let go, failed or cancelled."""
    first = ground.loop.create_future()

    async def wait_for(other: asyncio.Future[int]) -> int:
        return await other

    chain = [first]
    for _ in range(rng.randint(1, 20)):
        chain.append(asyncio.create_task(wait_for(chain[-1])))
    try:
        await asyncio.sleep(0)
        end = rng.choice((first.cancel, lambda: first.set_exception(Fault()), chain[-1].cancel))
        end()
        with contextlib.suppress(Fault):
            await asyncio.wait([chain[-1]])
    finally:
        for future in reversed(chain):
            future.cancel()
        await asyncio.wait(chain)
        for future in chain:
            if not future.cancelled():
                future.exception()


@kind()
async def generators(ground: Ground, rng: random.Random) -> None:
    """Some are left in the middle, and closed by the loop."""

    async def numbers():
        try:
            for number in range(10):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)

    stop = rng.randint(0, 12)
    async for number in numbers():
        if number == stop:
            break


@kind()
async def contexts(ground: Ground, rng: random.Random) -> None:
    context = contextvars.copy_context()
    value = rng.random()

    async def look() -> float:
        VALUE.set(value)
        await asyncio.sleep(0)
        return VALUE.get()

    assert await ground.loop.create_task(look(), context=context) == value
    assert context[VALUE] == value
