"""Executors, and threads that call the loop."""

import asyncio
import random
import threading
import time

from tests.soak.ground import Ground

from . import kind


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@kind()
async def execute(ground: Ground, rng: random.Random) -> None:
    seconds = rng.random() / 2000
    calls = [ground.loop.run_in_executor(None, nap, seconds) for _ in range(rng.randint(1, 4))]
    calls.append(asyncio.to_thread(nap, seconds))
    assert set(await asyncio.gather(*calls)) == {seconds}


@kind()
async def fail_in_executor(ground: Ground, rng: random.Random) -> None:
    try:
        await ground.loop.run_in_executor(None, nap, -1)
    except ValueError:
        return
    raise AssertionError("slept backwards")


@kind()
async def be_called_from_a_thread(ground: Ground, rng: random.Random) -> None:
    calls = rng.randint(1, 50)
    seen = asyncio.Event()
    left = calls

    def one() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            seen.set()

    def call() -> None:
        for _ in range(calls):
            ground.loop.call_soon_threadsafe(one)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        await seen.wait()
    finally:
        thread.join()


@kind()
async def run_for_a_thread(ground: Ground, rng: random.Random) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    def ask() -> int:
        return asyncio.run_coroutine_threadsafe(double(21), ground.loop).result()

    assert await asyncio.to_thread(ask) == 42
