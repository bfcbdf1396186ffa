"""TaskGroup: asyncio's class, natively as far as each task goes (see `_locks`)."""

from __future__ import annotations

import asyncio.taskgroups
from typing import Any

from . import _core
from ._twin import Twin

_NATIVE = (
    "_entered",
    "_exiting",
    "_aborting",
    "_loop",
    "_parent_task",
    "_parent_cancel_requested",
    "_tasks",
    "_errors",
    "_base_error",
    "_on_completed_fut",
)

# What this version's own __init__() sets besides.
_FURTHER = sorted(vars(asyncio.taskgroups.TaskGroup()).keys() - set(_NATIVE))


@_core.furnish
class TaskGroup(asyncio.taskgroups.TaskGroup, metaclass=Twin):
    """asyncio.TaskGroup: tasks that are all done when the `async with` block is left.

    Where one fails, the others are cancelled, and what they raised comes as an ExceptionGroup.
    """

    __slots__ = ("_native",)

    def __init__(self) -> None:
        self._native = _core.GroupPart()
        if _FURTHER:
            super().__init__()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **{name: getattr(self, name) for name in _NATIVE}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._native = _core.GroupPart()
        for name, value in state.items():
            setattr(self, name, value)
