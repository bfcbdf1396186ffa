"""What tasks wait for each other by."""

import asyncio


async def queue(count: int) -> None:
    """One task puts, one gets, ten may wait between them."""
    between: asyncio.Queue[int] = asyncio.Queue(10)

    async def put() -> None:
        for number in range(count):
            await between.put(number)

    putting = asyncio.create_task(put())
    for _ in range(count):
        await between.get()
    await putting


async def ping_pong(count: int) -> None:
    questions: asyncio.Queue[int] = asyncio.Queue(1)
    answers: asyncio.Queue[int] = asyncio.Queue(1)

    async def answer() -> None:
        for _ in range(count):
            await answers.put(await questions.get())

    answering = asyncio.create_task(answer())
    for number in range(count):
        await questions.put(number)
        await answers.get()
    await answering


async def lock(count: int) -> None:
    """Ten tasks want one lock, whose holder each time lets the loop turn."""
    await _shared_by_ten(asyncio.Lock(), count)


async def event(count: int) -> None:
    """One task waits for what another sets."""
    flag = asyncio.Event()

    async def set_again() -> None:
        for _ in range(count):
            flag.set()
            await asyncio.sleep(0)

    setting = asyncio.create_task(set_again())
    for _ in range(count):
        await flag.wait()
        flag.clear()
    await setting


async def semaphore(count: int) -> None:
    """Ten tasks want what five may have, each of which lets the loop turn."""
    await _shared_by_ten(asyncio.Semaphore(5), count)


async def _shared_by_ten(shared: asyncio.Lock | asyncio.Semaphore, count: int) -> None:
    async def work() -> None:
        for _ in range(count // 10):
            async with shared:
                await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(10)))


async def condition(count: int) -> None:
    """One task waits for what another tells of."""
    told = asyncio.Condition()

    async def tell() -> None:
        for _ in range(count):
            async with told:
                told.notify()
            await asyncio.sleep(0)

    async with told:
        telling = asyncio.create_task(tell())
        for _ in range(count):
            await told.wait()
    await telling


async def barrier(count: int) -> None:
    """Ten tasks wait for each other."""
    together = asyncio.Barrier(10)

    async def work() -> None:
        for _ in range(count // 10):
            await together.wait()

    await asyncio.gather(*(work() for _ in range(10)))


async def wait_for(count: int) -> None:
    for _ in range(count):
        await asyncio.wait_for(asyncio.sleep(0), 10)


async def timeout(count: int) -> None:
    for _ in range(count):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
