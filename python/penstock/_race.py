"""Attempts to connect that start one after the other and may overlap (RFC 8305).

Every socket that an attempt brings and the race doesn't return is closed here, also where the race
is cancelled while its result is under way.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

_Attempt = asyncio.Task[socket.socket]


async def race(
    loop: asyncio.AbstractEventLoop,
    attempts: Iterable[Coroutine[Any, Any, socket.socket]],
    delay: float,
    discard: Callable[[socket.socket], object],
) -> socket.socket | None:
    """The first socket to connect; None if every attempt fails with OSError.

    The next attempt starts `delay` seconds after the newest, or as soon as that has failed. The
    others are cancelled and waited for, and `discard` gets the socket of any that connected
    nevertheless. What an attempt raises besides OSError ends the race and is raised.
    """
    started: list[_Attempt] = []
    try:
        winner = await _run(loop, attempts, delay, started)
    except BaseException:
        await _call_off(started, discard)
        raise
    try:
        await _call_off([task for task in started if task is not winner], discard)
    except BaseException:
        if winner is not None:
            discard(winner.result())
        raise
    return None if winner is None else winner.result()


async def _run(
    loop: asyncio.AbstractEventLoop,
    attempts: Iterable[Coroutine[Any, Any, socket.socket]],
    delay: float,
    started: list[_Attempt],
) -> _Attempt | None:
    for attempt in attempts:
        newest = loop.create_task(attempt)
        started.append(newest)
        deadline = loop.time() + delay
        while not newest.done() and (left := deadline - loop.time()) > 0:
            await _wait_for_one(started, left)
            if winner := _find_connected(started):
                return winner
        if winner := _find_connected(started):
            return winner
    while not all(task.done() for task in started):
        await _wait_for_one(started, None)
        if winner := _find_connected(started):
            return winner
    return None


async def _wait_for_one(tasks: list[_Attempt], timeout: float | None) -> None:
    pending = [task for task in tasks if not task.done()]
    await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _find_connected(tasks: list[_Attempt]) -> _Attempt | None:
    for task in tasks:
        if not task.done() or task.cancelled():
            continue
        error = task.exception()
        if error is None:
            return task
        if not isinstance(error, OSError):
            raise error
    return None


async def _call_off(tasks: list[_Attempt], discard: Callable[[socket.socket], object]) -> None:
    def close_what_it_connected(task: _Attempt) -> None:
        if not task.cancelled() and task.exception() is None:
            discard(task.result())

    pending = []
    for task in tasks:
        if task.done():
            close_what_it_connected(task)
        else:
            task.add_done_callback(close_what_it_connected)
            task.cancel()
            pending.append(task)
    if pending:
        await asyncio.wait(pending)
