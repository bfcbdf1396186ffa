"""The table of scenarios: one entry a way of calling a coroutine method.

A scenario is an asynchronous generator. It sets up on a `Stage`, yields the call, and gets back
what that returned (None where it was cancelled), for it to close:

    @scenario("sock_recv")
    async def sock_recv(stage):
        near, far = stage.pair()
        yield stage.loop.sock_recv(near, 10), lambda: far.send(b"x")

The second of the yielded two, where there is one, brings what the call waits for: it is called in
the turn after every suspension that isn't cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .stage import Stage

Call = Awaitable[Any] | tuple[Awaitable[Any], Callable[[], object]]
Play = Callable[[Stage], AsyncGenerator[Call, Any]]


@dataclass(frozen=True)
class Scenario:
    method: str
    play: Play
    asyncio_fails: str | None  # why asyncio is no oracle
    endless: bool  # waits for what never comes: only its first suspension is cut
    uses_up_loop: bool  # a loop serves one call only

    def __str__(self) -> str:
        return f"{self.method}-{self.play.__name__}"


TABLE: list[Scenario] = []


def scenario(
    method: str,
    *,
    asyncio_fails: str | None = None,
    endless: bool = False,
    uses_up_loop: bool = False,
) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        TABLE.append(Scenario(method, play, asyncio_fails, endless, uses_up_loop))
        return play

    return add
