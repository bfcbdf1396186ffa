"""install() and uninstall(): asyncio's own names, and what each stands for.

With Task goes `asyncio.eager_task_factory` (3.12+), which is bound to the class it makes.

The loop. asyncio.new_event_loop, asyncio.run, asyncio.Runner and, up to 3.13,
asyncio.get_event_loop all end in the default policy's `_loop_factory` on every version from 3.11 to
3.15, so that one class attribute is what we change. Compared with the alternatives: setting a
policy of our own is deprecated from 3.14 on, forgets the current loop of every thread, and is
undone by a set_event_loop_policy(None), which test suites do all the time; replacing the function
new_event_loop misses who has imported it already. A policy that the program sets is respected, if
it comes after install().

asyncio.EventLoop (3.13+) is "the most efficient loop of the platform" by its documentation, hence
penstock's. asyncio.SelectorEventLoop names a mechanism, yet is what servers ask for that mean "not
the Proactor" (uvicorn does); see `_SelectorEventLoop` for what becomes of it.
"""

from __future__ import annotations

import asyncio
import asyncio.taskgroups
import asyncio.unix_events
import sys
from typing import Any

from . import _core
from ._locks import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore
from ._queues import LifoQueue, PriorityQueue, Queue
from ._streams import CLASSES, FUNCTIONS
from ._task_group import TaskGroup
from .loop import Loop, new_event_loop

_MISSING = object()

_LOCKS = (Lock, Event, Condition, Semaphore, BoundedSemaphore, Barrier)
_QUEUES = (Queue, PriorityQueue, LifoQueue)

if sys.version_info >= (3, 12):
    eager_task_factory = asyncio.create_eager_task_factory(_core.Task)
    eager_task_factory.__doc__ = "asyncio.eager_task_factory: tasks begin to run as they are made."

_policy_class: Any = asyncio.unix_events._UnixDefaultEventLoopPolicy
_stock_selector_loop: Any = asyncio.unix_events._UnixSelectorEventLoop

# (where, name, what was there, what we put there)
_replaced: list[tuple[Any, str, Any, Any]] = []


class _SelectorEventLoopMeta(type):
    """Stands for asyncio.SelectorEventLoop while penstock is installed.

    Called without a selector, it makes a penstock loop. Called with one, or subclassed, it is the
    class of the standard library: who brings a selector or overrides methods counts on how that
    class works inside.
    """

    def __call__(cls, selector: Any = None) -> Any:
        return new_event_loop() if selector is None else _stock_selector_loop(selector)

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(mcs, name, bases, namespace)
        theirs = tuple(_stock_selector_loop if type(base) is mcs else base for base in bases)
        return type(_stock_selector_loop)(name, theirs, namespace)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (Loop, _stock_selector_loop))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, (Loop, _stock_selector_loop))

    def __getattr__(cls, name: str) -> Any:
        return getattr(_stock_selector_loop, name)


class _SelectorEventLoop(metaclass=_SelectorEventLoopMeta):
    pass


def install() -> None:
    """Let asyncio's names for the loop, tasks, locks, queues and streams mean penstock's.

    These are Task, Future, sleep, create_task, gather, TaskGroup, timeout, timeout_at, wait_for,
    Lock, Event, Condition, Semaphore, BoundedSemaphore, Barrier, Queue, PriorityQueue, LifoQueue,
    StreamReader, StreamWriter, StreamReaderProtocol, open_connection, start_server,
    open_unix_connection and start_unix_server. Each is an attribute of `penstock` too, which needs
    no install().

    With them go `asyncio.EventLoop`, `eager_task_factory`, and `SelectorEventLoop` where it is
    called without a selector. A policy of the program's that makes other loops is replaced; one
    that is set later is left in place. Names that were imported before (`from asyncio import
    sleep`) keep their meaning and work as ever. A second call does nothing. Loops that exist
    already, and their tasks, stay what they are.
    """
    if _replaced:
        return
    unix = asyncio.unix_events
    _replace(_policy_class, "_loop_factory", Loop)
    for module in (asyncio, unix):
        if hasattr(module, "EventLoop"):
            _replace(module, "EventLoop", Loop)
        _replace(module, "SelectorEventLoop", _SelectorEventLoop)
    for home, name, ours in (
        (asyncio.tasks, "sleep", _core.sleep),
        (asyncio.tasks, "wait_for", _core.wait_for),
        (asyncio.timeouts, "timeout", _core.timeout),
        (asyncio.timeouts, "timeout_at", _core.timeout_at),
        (asyncio.tasks, "create_task", _core.create_task),
        (asyncio.tasks, "gather", _core.gather),
        (asyncio.tasks, "Task", _core.Task),
        (asyncio.futures, "Future", _core.Future),
        (asyncio.taskgroups, "TaskGroup", TaskGroup),
        *((asyncio.locks, twin.__name__, twin) for twin in _LOCKS),
        *((asyncio.queues, twin.__name__, twin) for twin in _QUEUES),
        *((asyncio.streams, ours.__name__, ours) for ours in (*CLASSES, *FUNCTIONS)),
    ):
        if name in ("Task", "Future", "gather") and not _core.native_task:
            continue
        _replace(home, name, ours)
        _replace(asyncio, name, ours)
    if _core.native_task:
        # asyncio's own gather() makes one too, where it does the work.
        _replace(asyncio.tasks, "_GatheringFuture", _core._GatheringFuture)
    if sys.version_info >= (3, 12):
        _replace(asyncio.tasks, "eager_task_factory", eager_task_factory)
        _replace(asyncio, "eager_task_factory", eager_task_factory)

    # A policy that makes other loops is in place: the later request wins.
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    if policy is not None and getattr(policy, "_loop_factory", None) is not Loop:
        _replace(asyncio.events, "_event_loop_policy", _policy_class())


def uninstall() -> None:
    """Put every name back that install() replaced; does nothing where nothing is installed.

    A name that somebody else has replaced since is left to them.
    """
    while _replaced:
        where, name, before, ours = _replaced.pop()
        if vars(where).get(name, _MISSING) is not ours:
            continue
        if before is _MISSING:
            delattr(where, name)
        else:
            setattr(where, name, before)


def is_installed() -> bool:
    return bool(_replaced)


def _replace(where: Any, name: str, ours: Any) -> None:
    _replaced.append((where, name, vars(where).get(name, _MISSING), ours))
    setattr(where, name, ours)
