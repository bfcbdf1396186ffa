"""Fetches all the URLs that its arguments or its standard input name at once, and tells of each."""

import asyncio
import sys

import aiohttp


async def fetch(url: str) -> str:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            body = await response.read()
            return f"{response.status}, {len(body)} bytes"
    except aiohttp.ClientError as error:
        return type(error).__name__


async def main(urls: list[str]) -> None:
    results = await asyncio.gather(*(fetch(url) for url in urls))
    for url, result in zip(urls, results, strict=True):
        print(f"{url}: {result}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or sys.stdin.read().split()))
