"""The loops that are compared, by name: each is set up the way its users do it."""

import asyncio
import importlib.util
import os
from collections.abc import Callable, Coroutine
from typing import Any

NAMES = ("asyncio", "uvloop", "penstock")


def installed() -> list[str]:
    """Those of NAMES that this interpreter has, penstock last."""
    return [name for name in NAMES if importlib.util.find_spec(name)]


def run(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run main() on the loop called name."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if name == "asyncio":
        factory = asyncio.SelectorEventLoop
    elif name == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        import penstock

        penstock.install()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def pin(which: int) -> None:
    """Keep this process on one of the cores it may use, counted from 0 or back from -1."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[which]})
