"""A callback that keeps the loop from everything else for 0.2 s."""

import asyncio
import time


async def main() -> None:
    await asyncio.sleep(0)
    time.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(), debug=True)
