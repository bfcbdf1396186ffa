"""Redis through redis.asyncio: commands, one that is cancelled half-way, and what stays open."""

import asyncio
import os

import redis.asyncio as redis

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
KEY = f"examples:{os.getpid()}"


async def main() -> None:
    client = redis.from_url(URL, decode_responses=True)
    await client.set(KEY, "written", ex=60)
    print(f"read back: {await client.get(KEY)}")

    waiting = asyncio.create_task(client.blpop([f"{KEY}:empty"], timeout=30))
    await asyncio.sleep(0.2)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        print("cancelled a command half-way")
    print(f"the client still answers: {await client.ping()}")

    counts = await asyncio.gather(*(client.incr(f"{KEY}:count") for _ in range(100)))
    print(f"100 commands at once: {sorted(counts) == list(range(1, 101))}")
    await client.delete(KEY, f"{KEY}:count")
    await client.aclose()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    before = open_files()
    asyncio.run(main())
    print(f"files left open: {open_files() - before}")
