"""Two coroutines that sleep at the same time: done after two seconds, not after four."""

import asyncio


async def nap(name: str) -> None:
    print(f"{name} falls asleep")
    await asyncio.sleep(2)
    print(f"{name} wakes up")


async def main() -> None:
    await asyncio.gather(nap("Ada"), nap("Grace"))


if __name__ == "__main__":
    asyncio.run(main())
