"""PostgreSQL through asyncpg: queries, one that is cancelled half-way, and what stays open."""

import asyncio
import os

import asyncpg

DSN = os.environ.get("POSTGRES_DSN", "postgresql://postgres@127.0.0.1:5432/postgres")


async def main() -> None:
    connection = await asyncpg.connect(DSN, ssl=False)
    rows = await connection.fetch("SELECT n, n * n AS square FROM generate_series(1, 1000) AS n")
    print(f"{len(rows)} rows, the last one {tuple(rows[-1])}")

    try:
        async with asyncio.timeout(0.2):
            await connection.execute("SELECT pg_sleep(30)")
    except TimeoutError:
        print("cancelled a query half-way")
    print(f"the connection still answers: {await connection.fetchval('SELECT 6 * 7')}")
    await connection.close()

    async with asyncpg.create_pool(DSN, ssl=False, min_size=5, max_size=5) as pool:
        sums = await asyncio.gather(*(pool.fetchval("SELECT $1::int + 1", n) for n in range(100)))
        print(f"100 queries over 5 connections: {sum(sums)}")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    before = open_files()
    asyncio.run(main())
    print(f"files left open: {open_files() - before}")
