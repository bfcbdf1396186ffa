"""Runner and run(): asyncio's, whose loop is penstock's where nobody asks for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .loop import new_event_loop

_T = TypeVar("_T")


# asyncio's is final to type checkers, since all within is private. What is counted on here is the
# same from 3.11 to 3.15: `_loop_factory`, and `_set_event_loop`.
class Runner(asyncio.Runner):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    """asyncio.Runner on a penstock loop: runs coroutines one after the other, on one loop.

    `debug` switches debug mode; None leaves it to the environment. `loop_factory` makes the loop,
    and makes it the current one if it likes; without it new_event_loop() makes one, which is the
    current event loop until close().

    run() and get_loop() raise RuntimeError once the runner is closed, run() also where an event
    loop runs in this thread; new_event_loop()'s OSError comes from whichever is first to need the
    loop. Source: CPython 3.15, Doc/library/asyncio-runner.rst.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory)
        if loop_factory is None:
            # Ours is the class's, for a bound method that is kept would make a cycle.
            del self._loop_factory

    def _loop_factory(self) -> asyncio.AbstractEventLoop:
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        self._set_event_loop = True  # close() takes it back
        return loop


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run `main` on a new event loop, and return its result: asyncio.run() on penstock.

    Tasks that are left are cancelled, asynchronous generators and the default executor shut down,
    the loop closed. `debug` switches debug mode; None leaves it to the environment. Raises
    RuntimeError if an event loop runs in this thread already. Source: CPython 3.15,
    Doc/library/asyncio-runner.rst.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("penstock.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
