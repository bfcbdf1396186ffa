"""asyncio.all_tasks() sees native tasks.

From CPython 3.14 on they are linked into the list that asyncio itself walks. Before, asyncio has
a WeakSet, which costs more than the whole creation of a native task; ours are in a list of their
own, and the WeakSet that all_tasks() reads is replaced by one that goes through both.
"""

from __future__ import annotations

import asyncio.tasks
import itertools
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from . import _core

_NAME = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"


class _AllTasks(WeakSet[Any]):
    """The tasks of `stock`, to which everything else is left, and the native ones."""

    def __init__(self, stock: WeakSet[Any]) -> None:
        super().__init__()
        self._stock = stock

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain(self._stock, _core.live_tasks())

    def __len__(self) -> int:
        return len(self._stock) + len(_core.live_tasks())

    def __contains__(self, task: object) -> bool:
        return task in self._stock or task in _core.live_tasks()

    def add(self, item: Any) -> None:
        self._stock.add(item)

    def discard(self, item: Any) -> None:
        self._stock.discard(item)


def show_native_tasks() -> None:
    """Let asyncio.all_tasks() see native tasks; nothing to do from CPython 3.14 on."""
    stock = getattr(asyncio.tasks, _NAME)
    if sys.version_info < (3, 14) and not isinstance(stock, _AllTasks):
        setattr(asyncio.tasks, _NAME, _AllTasks(stock))
