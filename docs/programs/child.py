"""Runs a program: talks to it, and gives up on one that takes too long."""

import asyncio
from asyncio.subprocess import PIPE


async def main() -> None:
    sort = await asyncio.create_subprocess_exec("sort", stdin=PIPE, stdout=PIPE)
    output, _ = await sort.communicate(b"Hedy\nAda\nGrace\n")
    print(output.decode().split(), sort.returncode)

    sleep = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        async with asyncio.timeout(0.1):
            await sleep.wait()
    except TimeoutError:
        sleep.terminate()
        print("terminated:", await sleep.wait())


if __name__ == "__main__":
    asyncio.run(main())
