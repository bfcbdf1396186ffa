"""penstock: Python's asynchronous runtime rebuilt in C++20.

penstock.run(main())                                         like asyncio.run
penstock.gather, penstock.Lock, penstock.open_connection, …  like asyncio's
penstock.serve("app:app")                                    an HTTP server for ASGI and WSGI
asyncio.Runner(loop_factory=penstock.new_event_loop)         the loop for one runner
penstock.install()                                           asyncio's own names mean penstock's
"""

from __future__ import annotations

import asyncio
import sys

# They wait by futures and tasks of the loop they are called on.
from asyncio import BrokenBarrierError, as_completed, shield, to_thread, wait
from typing import TYPE_CHECKING, Any

from . import _core
from ._core import create_task, gather, sleep, timeout, timeout_at, wait_for
from ._install import install, uninstall
from ._locks import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore
from ._queues import LifoQueue, PriorityQueue, Queue, QueueShutDown
from ._runner import Runner, run
from ._streams import (
    StreamReader,
    StreamReaderProtocol,
    StreamWriter,
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)
from ._task_group import TaskGroup
from ._task_list import show_native_tasks
from .loop import Loop, new_event_loop

if sys.version_info >= (3, 12):
    from ._install import eager_task_factory

if TYPE_CHECKING:
    from ._core import Future, Task
    from ._policy import EventLoopPolicy
    from ._serve import Server, ServerError, serve
elif _core.native_task:
    Future = _core.Future
    Task = _core.Task
else:
    # _core has said why, in a RuntimeWarning.
    Future = asyncio.Future
    Task = asyncio.Task

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "EventLoopPolicy",
    "Future",
    "LifoQueue",
    "Lock",
    "Loop",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Runner",
    "Semaphore",
    "Server",
    "ServerError",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Task",
    "TaskGroup",
    "as_completed",
    "create_task",
    "gather",
    "install",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "run",
    "serve",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "uninstall",
    "wait",
    "wait_for",
]
if sys.version_info >= (3, 12):
    __all__ += ["eager_task_factory"]

__version__ = "0.1.0"

show_native_tasks()


def __getattr__(name: str) -> Any:
    # Policies are deprecated in 3.14 and gone in 3.16: nobody is to meet them who doesn't ask.
    if name == "EventLoopPolicy":
        from ._policy import EventLoopPolicy

        globals()[name] = EventLoopPolicy
        return EventLoopPolicy
    # Most programs serve nothing, and are not to pay for it as they start.
    if name in ("Server", "ServerError", "serve"):
        from . import _serve

        for each in ("Server", "ServerError", "serve"):
            globals()[each] = getattr(_serve, each)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
