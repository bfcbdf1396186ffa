"""Subprocesses, and signals to this process."""

import asyncio
import random
import signal
from asyncio.subprocess import DEVNULL, PIPE

from tests.soak.ground import Ground

from . import kind


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()  # what is read no further is waited for as well


@kind(weight=2)
async def converse(ground: Ground, rng: random.Random) -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    try:
        data = ground.data[: rng.choice((1, 5000, 200_000))]
        assert (await process.communicate(data))[0] == data
        assert process.returncode == 0
    finally:
        await end(process)


@kind(weight=2)
async def kill(ground: Ground, rng: random.Random) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000", stderr=PIPE)
    try:
        try:
            await asyncio.wait_for(process.wait(), rng.random() / 1000)
        except TimeoutError:
            pass
        rng.choice((process.kill, process.terminate))()
        assert await process.wait() < 0
    finally:
        await end(process)


@kind(weight=2)
async def shell(ground: Ground, rng: random.Random) -> None:
    code = rng.randint(0, 20)
    process = await asyncio.create_subprocess_shell(
        f"exit {code}", stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        assert await process.wait() == code
    finally:
        await end(process)


@kind()
async def be_signalled(ground: Ground, rng: random.Random) -> None:
    future = ground.loop.create_future()
    ground.signalled.add(future)
    try:
        signal.raise_signal(signal.SIGUSR1)
        await future
    finally:
        ground.signalled.discard(future)


@kind()
async def handle_another_signal(ground: Ground, rng: random.Random) -> None:
    async with ground.second_signal:
        arrived = asyncio.Event()
        ground.loop.add_signal_handler(signal.SIGUSR2, arrived.set)
        try:
            signal.raise_signal(signal.SIGUSR2)
            await arrived.wait()
        finally:
            ground.loop.remove_signal_handler(signal.SIGUSR2)
