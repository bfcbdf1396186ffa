"""Stops in the debugger inside a coroutine, while another task waits."""

import asyncio


async def ticker(ticks: list[int]) -> None:
    while True:
        ticks.append(len(ticks))
        await asyncio.sleep(0.01)


async def compute(a: int, b: int) -> int:
    total = a + b
    breakpoint()
    await asyncio.sleep(0.1)
    return total


async def main() -> None:
    ticks: list[int] = []
    background = asyncio.create_task(ticker(ticks), name="ticker")
    total = await compute(20, 22)
    background.cancel()
    print(f"total {total}, ticking: {len(ticks) > 1}")


if __name__ == "__main__":
    asyncio.run(main())
