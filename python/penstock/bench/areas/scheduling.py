"""What the loop, Task, Future and the primitives on top of them cost: nanoseconds an operation.

It is CPU time, so that what else runs on the machine is not in it, and the best of some
repetitions. With one idle connection registered, as every server and client has, the loop must ask
the kernel in each turn.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .. import peers
from ..operations import Operation, callbacks, primitives, tasks
from ..process import measured
from ..rounds import Figure, Rounds, Table

REPETITIONS = 5

# With how many operations make one repetition: a few hundredths of a second of asyncio's.
OPERATIONS: dict[str, tuple[Operation, int]] = {
    "call_soon chain": (callbacks.call_soon, 30_000),
    "sleep(0)": (tasks.sleep_zero, 30_000),
    "future set + await": (tasks.future, 20_000),
    "create_task": (tasks.create_task, 15_000),
    "gather of 100, each": (tasks.gather, 15_000),
    "TaskGroup of 100, each": (tasks.task_group, 15_000),
    "Queue": (primitives.queue, 15_000),
    "Queue ping-pong": (primitives.ping_pong, 6_000),
    "Lock": (primitives.lock, 15_000),
    "Event": (primitives.event, 15_000),
    "Semaphore": (primitives.semaphore, 15_000),
    "Condition": (primitives.condition, 8_000),
    "Barrier": (primitives.barrier, 8_000),
    "wait of 100, each": (tasks.wait, 15_000),
    "as_completed of 100, each": (tasks.as_completed, 8_000),
    "shield": (tasks.shield, 8_000),
    "to_thread": (tasks.to_thread, 1_000),
    "wait_for": (primitives.wait_for, 8_000),
    "timeout()": (primitives.timeout, 8_000),
    "call_later + cancel": (callbacks.call_later, 20_000),
    "sleepers": (callbacks.sleepers, 5_000),
}
REGISTERED = {"nothing": "nothing registered", "connection": "one idle connection registered"}
FIGURES = {"cpu": Figure("", "ns of CPU an operation")}


def one(peer: str, operation: str, registered: str, scale: int) -> dict[str, float]:
    work, count = OPERATIONS[operation]
    return peers.peer(peer).run(lambda: nanoseconds(work, count // scale, registered))


@asynccontextmanager
async def there(registered: str) -> AsyncIterator[None]:
    """What a key of REGISTERED names."""
    if registered == "nothing":
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, writer = await asyncio.open_connection(*listener.getsockname())
        yield
        writer.close()


async def nanoseconds(work: Operation, count: int, registered: str) -> dict[str, float]:
    best = float("inf")
    async with there(registered):
        for _ in range(REPETITIONS):
            begin = time.process_time_ns()
            await work(count)
            best = min(best, (time.process_time_ns() - begin) / count)
    return {"cpu": best}


def measure(rounds: Rounds) -> list[Table]:
    tables = {key: Table(f"Scheduling, {title}", FIGURES) for key, title in REGISTERED.items()}

    def add(case: tuple[str, str], peer: str) -> None:
        operation, registered = case
        scale = 10 if rounds.quick else 1
        found = measured(one, peer=peer, operation=operation, registered=registered, scale=scale)
        tables[registered].add(operation, peer, found)

    cases = [(operation, registered) for registered in REGISTERED for operation in OPERATIONS]
    rounds.in_turns(list(tables.values()), cases, add)
    return list(tables.values())
