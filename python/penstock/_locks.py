"""Lock, Event, Condition, the semaphores and Barrier: asyncio's classes on native parts.

Each is a subclass of asyncio's own, so that what is made here is an instance of the class that
somebody imported before `install()`; `Twin` sees to the other way round. Condition and Barrier are
asyncio's Python code of the version that runs, which differs in what a cancellation leads to: what
it waits for is a native lock and, on a native loop, a native future.
"""

from __future__ import annotations

import asyncio.locks
from typing import Any

from . import _core
from ._twin import Twin, get_state, set_state


@_core.furnish
class Lock(asyncio.locks.Lock, metaclass=Twin):
    """asyncio.Lock: a mutex for tasks, first come first served."""

    __slots__ = ("_native",)

    def __init__(self) -> None:
        self._native = _core.Waiters()

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self, "_locked", "_loop")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._native = _core.Waiters()
        set_state(self, state)


@_core.furnish
class Event(asyncio.locks.Event, metaclass=Twin):
    """asyncio.Event: a flag that tasks wait for."""

    __slots__ = ("_native",)

    def __init__(self) -> None:
        self._native = _core.Waiters()

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self, "_value", "_loop")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._native = _core.Waiters()
        set_state(self, state)


@_core.furnish
class Semaphore(asyncio.locks.Semaphore, metaclass=Twin):
    """asyncio.Semaphore: so many may be inside at once, first come first served.

    Raises ValueError where `value` is negative.
    """

    __slots__ = ("_native",)
    _value: Any

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("Semaphore initial value must be >= 0")
        self._native = _core.Waiters()
        self._value = value

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self, "_value", "_bound_value", "_loop")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._native = _core.Waiters()
        set_state(self, state)


@_core.furnish
class BoundedSemaphore(Semaphore, asyncio.locks.BoundedSemaphore, metaclass=Twin):
    """asyncio.BoundedSemaphore: a semaphore that can't be released more often than acquired."""

    __slots__ = ()
    _bound_value: Any

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._bound_value = value


_OF_THE_LOCK = ("locked", "acquire", "release")


class Condition(asyncio.locks.Condition, metaclass=Twin):
    """asyncio.Condition: tasks that hold its lock wait until another one, which has it, notifies.

    Without `lock` it has a Lock of its own. wait() and notify() raise RuntimeError where the lock
    is not acquired.
    """

    __slots__ = ()
    _lock: Any

    def __init__(self, lock: Any = None) -> None:
        super().__init__(Lock() if lock is None else lock)

    def __getstate__(self) -> dict[str, Any]:
        # The lock's methods, which deepcopy would leave those of the old one: to it native methods
        # are constants.
        return {name: value for name, value in vars(self).items() if name not in _OF_THE_LOCK}

    def __setstate__(self, state: dict[str, Any]) -> None:
        set_state(self, state)
        for name in _OF_THE_LOCK:
            setattr(self, name, getattr(self._lock, name))


class Barrier(asyncio.locks.Barrier, metaclass=Twin):
    """asyncio.Barrier: whoever waits goes on once there are as many as `parties`.

    Raises ValueError where `parties` is below 1. wait() raises BrokenBarrierError where the barrier
    is reset or aborted.
    """

    __slots__ = ()
    _cond: Any

    def __init__(self, parties: int) -> None:
        super().__init__(parties)
        self._cond = Condition()
