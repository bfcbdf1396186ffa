"""aiohttp's client for callgrind to count: `http_client.py LOOP ROW COUNT URL`, for client.py."""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable

import aiohttp

CONCURRENCY = 50

Get = Callable[[], Awaitable[object]]


async def repeat(get: Get, count: int) -> None:
    async def work() -> None:
        for _ in range(count // CONCURRENCY):
            await get()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def kept(count: int, url: str) -> None:
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get() -> None:
            async with session.get(url) as response:
                await response.read()

        await repeat(get, count)


async def new(count: int, url: str) -> None:
    async def get() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.text()

    await repeat(get, count)


ROWS = {"connections kept": kept, "a session and a connection each": new}


def main() -> None:
    loop, row, count, url = sys.argv[1:]
    module = importlib.import_module(loop)
    if loop == "penstock":
        module.install()
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(ROWS[row](int(count), url))


if __name__ == "__main__":
    main()
