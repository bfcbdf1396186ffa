"""What the loop, Task, Future and the primitives on top of them cost: nanoseconds an operation.

`scheduling.py LOOP ROW nothing|connection` prints one figure. It is CPU time, so that what else
runs on the machine is not in it, and the best of five repetitions. With one idle connection
registered, as every server and client has, the loop must ask the kernel in each turn.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import loops
from rounds import Table, in_turns, measured

REPETITIONS = 5

Operation = Callable[[int], Coroutine[Any, Any, None]]


async def call_soon(count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


async def sleep_zero(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def future(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        answer = loop.create_future()
        loop.call_soon(answer.set_result, None)
        await answer


async def nothing() -> None:
    pass


async def create_task(count: int) -> None:
    for _ in range(count):
        await asyncio.create_task(nothing())


async def gather(count: int) -> None:
    for _ in range(count // 100):
        await asyncio.gather(*(nothing() for _ in range(100)))


async def ping_pong(count: int) -> None:
    questions: asyncio.Queue[int] = asyncio.Queue(1)
    answers: asyncio.Queue[int] = asyncio.Queue(1)

    async def answer() -> None:
        for _ in range(count):
            await answers.put(await questions.get())

    answering = asyncio.create_task(answer())
    for number in range(count):
        await questions.put(number)
        await answers.get()
    await answering


async def lock(count: int) -> None:
    """Ten tasks want one lock, whose holder each time lets the loop turn."""
    shared = asyncio.Lock()

    async def work() -> None:
        for _ in range(count // 10):
            async with shared:
                await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(10)))


async def event(count: int) -> None:
    """One task waits for what another sets."""
    flag = asyncio.Event()

    async def set_again() -> None:
        for _ in range(count):
            flag.set()
            await asyncio.sleep(0)

    setting = asyncio.create_task(set_again())
    for _ in range(count):
        await flag.wait()
        flag.clear()
    await setting


async def wait_for(count: int) -> None:
    for _ in range(count):
        await asyncio.wait_for(asyncio.sleep(0), 10)


async def timeout(count: int) -> None:
    for _ in range(count):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


async def call_later(count: int) -> None:
    """Timers that never fire, as deadlines mostly do not: a hundred are pending at a time."""
    loop = asyncio.get_running_loop()
    for _ in range(count // 100):
        for handle in [loop.call_later(10 + number % 7, nothing) for number in range(100)]:
            handle.cancel()
        await asyncio.sleep(0)


# With how many operations make one repetition: a few hundredths of a second of asyncio's.
ROWS: dict[str, tuple[Operation, int]] = {
    "call_soon chain": (call_soon, 30_000),
    "sleep(0)": (sleep_zero, 30_000),
    "future set + await": (future, 20_000),
    "create_task": (create_task, 15_000),
    "gather of 100, each": (gather, 15_000),
    "Queue ping-pong": (ping_pong, 6_000),
    "Lock": (lock, 15_000),
    "Event": (event, 15_000),
    "wait_for": (wait_for, 8_000),
    "timeout()": (timeout, 8_000),
    "call_later + cancel": (call_later, 20_000),
}
REGISTERED = {"nothing": "nothing registered", "connection": "one idle connection registered"}


async def nanoseconds(row: str, registered: str, scale: int) -> float:
    operation, count = ROWS[row]
    count //= scale
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if registered == "connection":
            port = listener.getsockname()[1]
            connections.append(await asyncio.open_connection("127.0.0.1", port))
        best = float("inf")
        for _ in range(REPETITIONS):
            begin = time.process_time_ns()
            await operation(count)
            best = min(best, (time.process_time_ns() - begin) / count)
    for _, writer in connections:
        writer.close()
    return best


def measure(rounds: int, quick: bool) -> list[Table]:
    """A table a thing that is registered."""
    tables = {
        key: Table(f"Scheduling, {title}", "ns of CPU an operation")
        for key, title in REGISTERED.items()
    }

    def one(case: tuple[str, str], loop: str) -> None:
        row, registered = case
        found = measured(__file__, loop, row, registered, 10 if quick else 1)
        tables[registered].add(row, loop, found["ns"])

    in_turns([(row, registered) for registered in REGISTERED for row in ROWS], rounds, one)
    return list(tables.values())


async def main() -> None:
    row, registered, scale = sys.argv[2], sys.argv[3], int((sys.argv[4:] or ["1"])[0])
    print(json.dumps({"ns": await nanoseconds(row, registered, scale)}))


if __name__ == "__main__":
    loops.run(sys.argv[1], main)
