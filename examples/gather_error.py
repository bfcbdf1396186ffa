"""One of three coroutines under gather() fails; the other two do not notice."""

import asyncio


async def work(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    if name == "bad":
        raise ValueError(f"{name} went wrong")
    print(f"{name} is done")
    return name


async def main() -> None:
    slow = asyncio.create_task(work("slow", 0.3))
    try:
        await asyncio.gather(work("quick", 0.1), work("bad", 0.2), slow)
    except ValueError as error:
        print(f"caught: {error!r}")
    print(f"slow is done: {slow.done()}, cancelled: {slow.cancelled()}")
    print(f"slow returned {await slow!r}")
    print(await asyncio.gather(work("bad", 0), work("late", 0.1), return_exceptions=True))


if __name__ == "__main__":
    asyncio.run(main())
