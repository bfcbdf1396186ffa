"""What an idle task and an idle connection weigh: bytes of resident memory of the process.

The slope between a few and many of them in one process, so that what the interpreter and the loop
weigh by themselves is not in it. A connection's other end is in another process; its buffers in the
kernel, which are the same for every loop, are not counted.
"""

import asyncio
import gc
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

from .. import peers, serving
from ..process import measured, started
from ..rounds import Figure, Rounds, Table
from .streams import by_read

# More descriptors than these for the interpreter itself are never open.
SPARE_FILES = 100
# The figures are nearly the same each time.
MOST_ROUNDS = 2

Grow = Callable[[int], Awaitable[None]]

FIGURES = {"bytes": Figure("", "bytes each")}
ROWS = {
    "task waiting for an asyncio.Event": (10_000, 100_000),
    "task in asyncio.sleep": (10_000, 100_000),
    "connection of a protocol": (1_000, 10_000),
    "connection of streams": (1_000, 10_000),
}


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect() -> None:
    """The other end: reads how many connections to add, and says so once each has spoken."""
    raise_file_limit()
    held = []
    for line in sys.stdin:
        port, count = map(int, line.split())
        for _ in range(count):
            held.append(connection := socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"x" * 100)
            connection.recv(100, socket.MSG_WAITALL)
        print(len(held), flush=True)


async def tasks(row: str) -> Grow:
    flag = asyncio.Event()
    held: list[asyncio.Task[None]] = []

    async def wait() -> None:
        await flag.wait()

    async def doze() -> None:
        await asyncio.sleep(1000 + len(held) % 100)

    async def grow(count: int) -> None:
        held.extend(
            [asyncio.create_task(wait() if "Event" in row else doze()) for _ in range(count)]
        )
        await asyncio.sleep(0.1)

    return grow


async def connections(row: str, client: "subprocess.Popen[str]") -> Grow:
    loop = asyncio.get_running_loop()
    server = await (
        loop.create_server(serving.Echo, "127.0.0.1", 0, backlog=1024)
        if "protocol" in row
        else asyncio.start_server(by_read, "127.0.0.1", 0, backlog=1024)
    )
    port = server.sockets[0].getsockname()[1]
    assert client.stdin and client.stdout
    commands, answers = client.stdin, client.stdout

    async def grow(count: int) -> None:
        commands.write(f"{port} {count}\n")
        commands.flush()
        assert await loop.run_in_executor(None, answers.readline)
        assert server.is_serving()

    return grow


def one(peer: str, row: str, few: int, many: int) -> None:
    """Prints the figure itself, for it does not return."""
    raise_file_limit()
    with started(connect) as client:

        async def main() -> None:
            grow = await (tasks(row) if row.startswith("task") else connections(row, client))
            await grow(few)
            before = resident()
            await grow(many - few)
            print(json.dumps({"bytes": (resident() - before) / (many - few)}), flush=True)
            client.kill()
            client.wait()
            os._exit(0)  # to end tens of thousands of tasks in order is not what is measured

        peers.peer(peer).run(main)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Memory, idle", FIGURES)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_limited = most_files != resource.RLIM_INFINITY
    most_files -= SPARE_FILES

    def add(row: str, peer: str) -> None:
        few, many = (count // 5 if rounds.quick else count for count in ROWS[row])
        if is_limited and row.startswith("connection") and many > most_files:
            few, many = most_files // 5, most_files
        table.add(row, peer, measured(one, peer=peer, row=row, few=few, many=many))

    fewer = Rounds(rounds.peers, min(rounds.count, MOST_ROUNDS), rounds.quick)
    fewer.in_turns([table], list(ROWS), add)
    return [table]
