"""One piece of work again and again, by so many tasks at a time, and the tables of such areas."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from .process import measured
from .rounds import WAITS, Figure, Rounds, Table, percentiles


def figures(one: str, many: str) -> dict[str, Figure]:
    """What repeated() gives, by what its work is called."""
    return {
        "rate": Figure("throughput", f"{many}/s", more_is_better=True),
        "cpu": Figure(f"CPU a {one}", "µs"),
        **WAITS,
    }


async def repeated(
    work: Callable[[], Coroutine[Any, Any, None]], at_once: int, count: int
) -> dict[str, float]:
    waits: list[float] = []

    async def some() -> None:
        for _ in range(count // at_once):
            before = time.perf_counter()
            await work()
            waits.append(time.perf_counter() - before)

    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[some() for _ in range(at_once)])
    spent, took = time.process_time() - cpu, time.perf_counter() - begin
    return {"rate": len(waits) / took, "cpu": spent / len(waits) * 1e6, **percentiles(waits)}


def tables(
    rounds: Rounds, table: Table, cases: Iterable[str], one: Callable[..., dict[str, float]]
) -> list[Table]:
    """A row for each case: `one(peer, case, scale)` does so much less of it as `scale` says."""
    scale = 20 if rounds.quick else 1

    def add(case: str, peer: str) -> None:
        table.add(case, peer, measured(one, peer=peer, case=case, scale=scale))

    rounds.in_turns([table], list(cases), add)
    return [table]
