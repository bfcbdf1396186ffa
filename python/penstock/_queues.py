"""Queue, PriorityQueue and LifoQueue: asyncio's classes with native methods (see `_locks`)."""

from __future__ import annotations

import asyncio.queues
from typing import Any, TypeVar

from . import _core
from ._twin import Twin, get_state, set_state

_T = TypeVar("_T")

QueueShutDown = _core.QueueShutDown


class _Finished:
    """asyncio's private event of a queue, which programs set where they have emptied it."""

    __slots__ = ("_of",)

    def __init__(self, queue: Queue[Any]) -> None:
        self._of = queue

    def is_set(self) -> bool:
        return not self._of._unfinished_tasks

    def set(self) -> None:
        """Wake all that join(), whatever is left to do."""
        left = self._of._unfinished_tasks
        self._of._unfinished_tasks = 1
        Queue.task_done(self._of)
        self._of._unfinished_tasks = left

    async def wait(self) -> bool:
        await Queue.join(self._of)
        return True


class _FinishedOf:
    """Made when it is asked for; a subclass may set one of its own."""

    def __get__(self, queue: Queue[Any] | None, owner: type) -> Any:
        return self if queue is None else _Finished(queue)


@_core.furnish
class Queue(asyncio.queues.Queue[_T], metaclass=Twin):
    """asyncio.Queue: items from task to task, first in first out.

    A `maxsize` above 0 is how many items it takes before put() waits.
    """

    __slots__ = ("_native",)
    _queue: Any
    _is_shutdown: bool
    _unfinished_tasks: int
    _finished = _FinishedOf()

    def __init__(self, maxsize: Any = 0) -> None:
        self._native = _core.QueuePart(_orders.get(type(self), "custom"), maxsize)
        self._init(maxsize)

    def __getstate__(self) -> dict[str, Any]:
        names = ("maxsize", "_queue", "_unfinished_tasks", "_is_shutdown", "_loop")
        return get_state(self, *names)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._native = _core.QueuePart(_orders.get(type(self), "custom"), state["maxsize"])
        set_state(self, {name: state[name] for name in state if name != "maxsize"})

    def _format(self) -> str:
        shown = f"maxsize={self.maxsize!r}"
        if getattr(self, "_queue", None):
            shown += f" _queue={list(self._queue)!r}"
        for name in ("_getters", "_putters"):
            if waits := getattr(self, name):
                shown += f" {name}[{len(waits)}]"
        if self._unfinished_tasks:
            shown += f" tasks={self._unfinished_tasks}"
        if self._is_shutdown:
            shown += " shutdown"
        return shown


class PriorityQueue(Queue[Any], asyncio.queues.PriorityQueue[Any], metaclass=Twin):
    """asyncio.PriorityQueue: the lowest item comes out first."""

    __slots__ = ()
    _init = asyncio.queues.PriorityQueue._init
    _put = asyncio.queues.PriorityQueue._put
    _get = asyncio.queues.PriorityQueue._get


class LifoQueue(Queue[_T], asyncio.queues.LifoQueue[_T], metaclass=Twin):
    """asyncio.LifoQueue: the last item comes out first."""

    __slots__ = ()
    _init = asyncio.queues.LifoQueue._init
    _put = asyncio.queues.LifoQueue._put
    _get = asyncio.queues.LifoQueue._get


_orders: dict[type, str] = {Queue: "fifo", PriorityQueue: "priority", LifoQueue: "lifo"}
