"""Children: how long until one has come and gone, and what it costs this process."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE

from .. import peers, repeated
from ..process import pin
from ..rounds import Rounds, Table

AT_ONCE = 8
SIZE = 65536


async def come_and_go() -> None:
    child = await asyncio.create_subprocess_exec("true", stdin=DEVNULL, stdout=DEVNULL)
    assert await child.wait() == 0


async def answer() -> None:
    """64 KiB in, and out again."""
    child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    found, _ = await child.communicate(b"x" * SIZE)
    assert len(found) == SIZE


# With how many are there at a time, and how many there are in all.
CASES = {
    "true, one by one": (come_and_go, 1, 1000),
    f"true, {AT_ONCE} at once": (come_and_go, AT_ONCE, 1000),
    f"cat of 64 KiB, {AT_ONCE} at once": (answer, AT_ONCE, 1000),
}


def one(peer: str, case: str, scale: int) -> dict[str, float]:
    pin(0)
    work, at_once, count = CASES[case]

    async def main() -> dict[str, float]:
        await work()
        return await repeated.repeated(work, at_once, count // scale)

    return peers.peer(peer).run(main)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Subprocesses", repeated.figures("child", "children"))
    return repeated.tables(rounds, table, CASES, one)
