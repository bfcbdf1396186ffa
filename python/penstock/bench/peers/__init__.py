"""The loops that are compared: a file each, set up the way its users do it.

A file has `run(main)`, which gives what main() gives, and for the measurements of the start
IMPORT and RUN: what a program begins with, and how it runs its main().
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast

Result = TypeVar("Result")
Factory = Callable[[], asyncio.AbstractEventLoop]
Main = Callable[[], Coroutine[Any, Any, Result]]

# penstock is the last: others are what it is compared with.
NAMES = ("asyncio", "uvloop", "aiofastnet", "rloop", "zuvloop", "penstock_uring", "penstock")
# Measured only where it is named.
BY_NAME = "penstock_uring"


class Peer(Protocol):
    IMPORT: str
    RUN: str

    def run(self, main: Main[Result]) -> Result: ...


def installed() -> list[str]:
    """Those of NAMES that this interpreter has."""
    return [name for name in NAMES if importlib.util.find_spec(name)]


def peer(name: str) -> Peer:
    return cast(Peer, importlib.import_module(f".on_{name}", __package__))


def factory_of(module: str) -> Factory:
    """new_event_loop() of a module that need not be installed, nor be known to type checkers."""
    return cast(Factory, importlib.import_module(module).new_event_loop)


def run_on(factory: Factory | None, main: Main[Result]) -> Result:
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
