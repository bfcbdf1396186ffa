"""Names: loop.getaddrinfo() of what needs no server, one by one and many at once.

A numeric address needs no system call even. `localhost` stands in a file, which a thread reads.
"""

import asyncio
import socket

from .. import peers, repeated
from ..rounds import Rounds, Table

# The name, how many are asked for at a time, and how many in all.
CASES = {
    "127.0.0.1": ("127.0.0.1", 1, 3000),
    "localhost": ("localhost", 1, 2000),
    "localhost, 50 at once": ("localhost", 50, 2000),
}


def one(peer: str, case: str, scale: int) -> dict[str, float]:
    host, at_once, count = CASES[case]

    async def main() -> dict[str, float]:
        loop = asyncio.get_running_loop()

        async def ask() -> None:
            assert await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)

        await asyncio.gather(*[ask() for _ in range(at_once)])  # starts the threads
        return await repeated.repeated(ask, at_once, count // scale)

    return peers.peer(peer).run(main)


def measure(rounds: Rounds) -> list[Table]:
    return repeated.tables(rounds, Table("Names", repeated.figures("name", "names")), CASES, one)
