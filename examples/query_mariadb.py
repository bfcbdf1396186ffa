"""MariaDB through aiomysql: a pool, transactions, rows as they come, and a cancelled query."""

import asyncio
import os
from urllib.parse import urlsplit

import aiomysql

URL = urlsplit(os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/test"))
TABLE = f"accounts_{os.getpid()}"


async def pay(pool: aiomysql.Pool, amount: int) -> None:
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await connection.begin()
        await cursor.execute(f"UPDATE {TABLE} SET money = money - %s WHERE name = 'Ada'", amount)
        await cursor.execute(f"UPDATE {TABLE} SET money = money + %s WHERE name = 'Grace'", amount)
        await connection.commit()


async def payments(pool: aiomysql.Pool) -> None:
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute(f"CREATE TABLE {TABLE} (name varchar(20), money int) ENGINE InnoDB")
        await cursor.executemany(
            f"INSERT INTO {TABLE} VALUES (%s, %s)", [("Ada", 1000), ("Grace", 0)]
        )
    await asyncio.gather(*(pay(pool, amount) for amount in range(20)))
    async with pool.acquire() as connection, connection.cursor(aiomysql.DictCursor) as cursor:
        await cursor.execute(f"SELECT * FROM {TABLE} ORDER BY name")
        print("after 20 payments:", await cursor.fetchall())


async def main() -> None:
    pool = await aiomysql.create_pool(
        host=URL.hostname,
        port=URL.port,
        user=URL.username,
        password=URL.password or "",
        db=URL.path[1:],
        minsize=3,
        maxsize=3,
        autocommit=True,
    )
    try:
        await payments(pool)
    finally:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(f"DROP TABLE {TABLE}")

    async with pool.acquire() as connection, connection.cursor(aiomysql.SSCursor) as cursor:
        await cursor.execute("SELECT seq, repeat('x', 100) FROM seq_1_to_10000")
        count = size = 0
        async for _, text in cursor:
            count += 1
            size += len(text)
        print(f"{count} rows as they came, {size} bytes")

    async with pool.acquire() as connection, connection.cursor() as cursor:
        try:
            async with asyncio.timeout(0.2):
                await cursor.execute("SELECT sleep(30)")
        except TimeoutError:
            # What the server still has to say about it must not be read by whoever comes next.
            connection.close()
            print("cancelled a query half-way")
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT 6 * 7")
        print("the pool still answers:", await cursor.fetchone())
    pool.close()
    await pool.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
