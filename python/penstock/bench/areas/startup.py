"""The start: what a program pays before its first line, and what a loop costs.

The CPU time of whole processes, the interpreter's own start among it.
"""

import os
import subprocess
import sys
import time
from statistics import median

from .. import peers
from ..process import measured
from ..rounds import Figure, Rounds, Table

PROCESSES = 5
LOOPS = 200

FIGURES = {
    "import": Figure("python -c 'import …'", "ms of CPU"),
    "run": Figure("import and run of nothing", "ms of CPU"),
    "again": Figure("run of nothing once more", "ms of CPU"),
}


def milliseconds(program: str) -> float:
    """CPU time of a process that runs it: the median of some."""
    found = []
    for _ in range(PROCESSES):
        process = subprocess.Popen([sys.executable, "-P", "-c", program])
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"status {process.returncode} of {program}")
        found.append((used.ru_utime + used.ru_stime) * 1e3)
    return median(found)


async def nothing() -> None:
    pass


def one(peer: str) -> dict[str, float]:
    loop = peers.peer(peer)
    begin = f"{loop.IMPORT}\n"
    found = {
        "import": milliseconds(begin),
        "run": milliseconds(f"{begin}async def main(): pass\n{loop.RUN}\n"),
    }
    return {**found, "again": again(peer)}


def again(peer: str) -> float:
    """A new loop that runs nothing, in a process that has done so before."""
    loop = peers.peer(peer)
    loop.run(nothing)
    best = float("inf")
    for _ in range(5):
        cpu = time.process_time()
        for _ in range(LOOPS // 5):
            loop.run(nothing)
        best = min(best, (time.process_time() - cpu) / (LOOPS // 5) * 1e3)
    return best


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Start", FIGURES)

    def add(case: str, peer: str) -> None:
        table.add(case, peer, measured(one, peer=peer))

    rounds.in_turns([table], [""], add)
    return [table]
