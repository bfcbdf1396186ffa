"""penstock: Python's asynchronous runtime rebuilt in C++20.

penstock.run(main())                                         like asyncio.run
asyncio.Runner(loop_factory=penstock.new_event_loop)         the loop for one runner
penstock.install()                                           asyncio's own names mean penstock's
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core
from ._install import install, uninstall
from ._locks import BoundedSemaphore, Event, Lock, Semaphore
from ._queues import LifoQueue, PriorityQueue, Queue, QueueShutDown
from ._task_list import show_native_tasks
from .loop import Loop, new_event_loop

if TYPE_CHECKING:
    from ._core import Future, Task
    from ._policy import EventLoopPolicy
elif _core.native_task:
    Future = _core.Future
    Task = _core.Task
else:
    # _core has said why, in a RuntimeWarning.
    Future = asyncio.Future
    Task = asyncio.Task

__all__ = [
    "BoundedSemaphore",
    "Event",
    "EventLoopPolicy",
    "Future",
    "LifoQueue",
    "Lock",
    "Loop",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Semaphore",
    "Task",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]

__version__ = "0.1.0"

show_native_tasks()

_T = TypeVar("_T")


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


def __getattr__(name: str) -> Any:
    # Policies are deprecated in 3.14 and gone in 3.16: nobody is to meet them who doesn't ask.
    if name == "EventLoopPolicy":
        from ._policy import EventLoopPolicy

        globals()[name] = EventLoopPolicy
        return EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
