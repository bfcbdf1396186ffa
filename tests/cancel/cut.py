"""Cancelling a call at its n-th suspension, in each of the ways in which it may come about."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

MESSAGE = "enough"
STUCK = "stuck"


class Cut:
    """`await Cut(call, at, how)` awaits `call`, and has its task cancelled at suspension `at`.

    Whatever else makes the call go on is `feed()`, called at every suspension.
    """

    def __init__(
        self, call: Awaitable[Any], at: int, how: "How", feed: Callable[[], object] | None
    ):
        self._call = call
        self._at = at
        self._how = how
        self._feed = feed
        self._cancel: Callable[[], object] = lambda: None
        self._was_in_time = False
        self.suspensions = 0

    @property
    def has_cut(self) -> bool:
        return self._was_in_time if self._how is turn_by_turn else self.suspensions > self._at

    async def run(self) -> Any:
        self._task = asyncio.current_task()
        if self._how is turn_by_turn:
            # Ever larger steps: a call that waits for a thread takes thousands of turns.
            self._count_down(int(1.1**self._at) + self._at - 1)
            return await self
        if self._how is not out_of_time:
            self._cancel = lambda: self._task.cancel(MESSAGE)
            return await self
        async with asyncio.timeout(None) as timeout:
            self._cancel = lambda: timeout.expired() or timeout.reschedule(-1)
            return await self

    def __await__(self):
        async def call():
            return await self._call

        # By hand, since `await` would tell nothing of the suspensions.
        steps = call()
        resume = steps.send, None
        while True:
            try:
                waits_for = resume[0](resume[1])
            except StopIteration as stop:
                return stop.value
            self._suspend(waits_for)
            try:
                resume = steps.send, (yield waits_for)
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as exc:
                resume = steps.throw, exc

    def _count_down(self, turns: int) -> None:
        if turns > 0:
            asyncio.get_running_loop().call_soon(self._count_down, turns - 1)
        else:
            self._was_in_time = self._task.cancel(MESSAGE)

    def _suspend(self, waits_for: Any) -> None:
        self.suspensions += 1
        if self.suspensions == self._at + 1:
            self._how(self, waits_for)
        else:
            if self._how is twice and self.has_cut:
                self._cancel()
            self.feed_later()

    def cancel(self) -> None:
        self._cancel()

    def cancel_later(self) -> None:
        asyncio.get_running_loop().call_soon(self._cancel)

    def feed(self) -> None:
        if self._feed is not None:
            self._feed()

    def feed_later(self) -> None:
        if self._feed is not None:
            asyncio.get_running_loop().call_soon(self._feed)


How = Callable[[Cut, Any], None]


def at_once(cut: Cut, waits_for: Any) -> None:
    """In the very step that suspends."""
    cut.cancel()


def a_turn_later(cut: Cut, waits_for: Any) -> None:
    cut.cancel_later()


def while_ready(cut: Cut, waits_for: Any) -> None:
    """What it waits for is there, but the loop has not looked yet."""
    cut.feed()
    cut.cancel_later()


def on_completion(cut: Cut, waits_for: Any) -> None:
    """What it waits for has come, but the call has not run yet: both land in one turn."""
    if hasattr(waits_for, "add_done_callback"):
        waits_for.add_done_callback(lambda _: cut.cancel())
        cut.feed_later()
    else:
        cut.cancel_later()


def twice(cut: Cut, waits_for: Any) -> None:
    """And once more, wherever it waits then."""
    cut.cancel()
    cut.cancel_later()


def out_of_time(cut: Cut, waits_for: Any) -> None:
    """By asyncio.timeout(), which makes a TimeoutError of it."""
    cut.cancel()


def turn_by_turn(cut: Cut, waits_for: Any) -> None:
    """After so many turns of the loop, whatever it waits for then, and whatever else runs for it:
    here `at` counts attempts, not suspensions."""
    cut.feed_later()


HOW: list[How] = [
    at_once,
    a_turn_later,
    while_ready,
    on_completion,
    twice,
    out_of_time,
    turn_by_turn,
]
