"""PostgreSQL through psycopg's async API: queries, COPY, NOTIFY, and a query cancelled half-way."""

import asyncio
import os

import psycopg

DSN = os.environ.get("POSTGRES_DSN", "postgresql://postgres@127.0.0.1:5432/postgres")


async def connect() -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(DSN, autocommit=True)


async def copies(connection: psycopg.AsyncConnection) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("CREATE TEMPORARY TABLE squares (n int, square int)")
        async with cursor.copy("COPY squares FROM STDIN") as copy:
            for n in range(1, 10_001):
                await copy.write_row((n, n * n))
        await cursor.execute("SELECT count(*), max(square) FROM squares")
        print("copied in:", await cursor.fetchone())
        size = 0
        async with cursor.copy("COPY squares TO STDOUT") as copy:
            async for block in copy:
                size += len(block)
        print(f"copied out: {size} bytes")


async def notifications(connection: psycopg.AsyncConnection, channel: str) -> None:
    await connection.execute(f"LISTEN {channel}")
    async with await connect() as other:
        for word in ("one", "two", "three"):
            await other.execute("SELECT pg_notify(%s, %s)", (channel, word))
    heard = [notify.payload async for notify in connection.notifies(timeout=30, stop_after=3)]
    print("heard:", *heard)


async def times(number: int) -> int:
    async with await connect() as connection:
        cursor = await connection.execute("SELECT %s::int * 6", (number,))
        (product,) = await cursor.fetchone() or (0,)
        return int(product)


async def main() -> None:
    async with await connect() as connection:
        await copies(connection)
        await notifications(connection, f"examples_{os.getpid()}")
        try:
            async with asyncio.timeout(0.2):
                await connection.execute("SELECT pg_sleep(30)")
        except TimeoutError:
            print("cancelled a query half-way")
        cursor = await connection.execute("SELECT 6 * 7")
        print("the connection still answers:", await cursor.fetchone())
    print("ten connections at once:", *await asyncio.gather(*(times(n) for n in range(10))))


if __name__ == "__main__":
    asyncio.run(main())
