#!/usr/bin/env python3
"""What one idle connection of streams consists of, object by object: see
docs/design/010-memory.md.

    .venv/bin/python benchmarks/weight.py

Bytes are those that pymalloc gives away: the object with what the collector and CPython put before
it, in steps of 16. Objects without the collector's head are not seen, nor what the C++ side holds.
"""

import asyncio
import gc
import socket
import sys
from collections import Counter

import penstock

CONNECTIONS = 20


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


async def objects() -> dict[str, tuple[int, int]]:
    """Of each type the objects that CONNECTIONS connections have each, and their bytes."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    loop = asyncio.get_running_loop()
    clients = []

    async def connect(count: int) -> None:
        for _ in range(count):
            clients.append(client := socket.create_connection(address))
            client.setblocking(False)
            client.send(b"x")
            await loop.sock_recv(client, 1)

    await connect(2)
    gc.collect()
    known = {id(found) for found in gc.get_objects()}
    own = len(clients)
    await connect(CONNECTIONS)
    gc.collect()
    numbers: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    ours = {id(client) for client in clients[own:]}
    for found in gc.get_objects():
        if id(found) not in known and id(found) not in ours:
            numbers[name_of(type(found))] += 1
            weights[name_of(type(found))] += (sys.getsizeof(found) + 15) // 16 * 16
    server.close()
    for client in clients:
        client.close()
    await server.wait_closed()
    each = {
        name: (number // CONNECTIONS, weights[name] // number * (number // CONNECTIONS))
        for name, number in numbers.items()
    }
    return {name: found for name, found in each.items() if found[0] > 0}


def main() -> None:
    penstock.install()
    found = penstock.run(objects())
    for name, (number, weight) in sorted(found.items(), key=lambda each: -each[1][1]):
        print(f"{weight:6}  {number} {name}")
    print(f"{sum(weight for _, weight in found.values()):6}  together")


if __name__ == "__main__":
    main()
