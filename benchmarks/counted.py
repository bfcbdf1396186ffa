"""Python's operations for callgrind to count: `counted.py MARKS`, run by instructions.py.

MARKS is the library with which callgrind is told where a case begins and ends. Each is done COUNT
times to warm up, and COUNT times to be counted.
"""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

import penstock
from penstock.bench.areas.scheduling import OPERATIONS, REGISTERED, there

Mark = Callable[..., None]

COUNT = 2000
# One goes by the clock, which under valgrind runs ahead of everything else, one by another thread.
UNSTEADY = {"sleepers", "to_thread"}


async def count(begin: Mark, end: Mark, registered: str) -> None:
    async with there(registered):
        for name, (work, _) in OPERATIONS.items():
            if name not in UNSTEADY:
                await work(COUNT)
                begin()
                await work(COUNT)
                end(f"{name}, {REGISTERED[registered]}".encode())


def main() -> None:
    marks = ctypes.CDLL(sys.argv[1])
    begin, end = marks.begin, marks.end
    # When it collects depends on all that was allocated before.
    gc.disable()
    penstock.install()
    for registered in REGISTERED:
        asyncio.run(count(begin, end, registered))


if __name__ == "__main__":
    main()
