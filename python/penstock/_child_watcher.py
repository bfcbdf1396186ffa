"""asyncio's child watchers, which programs could set below 3.14.

A watcher of the program's own, or one of asyncio's that reap in a way of their own (SIGCHLD
handlers), is used as asyncio uses it. ThreadedChildWatcher and PidfdChildWatcher are what asyncio
itself sets where nobody has asked for anything, and do what the loop does better alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def program_watcher() -> Iterator[Any | None]:
    """The child watcher that the program insists on, entered; None where there is none.

    Raises RuntimeError for one that is not active.
    """
    watcher = _find()
    if watcher is None:
        yield None
        return
    with watcher as entered:
        if sys.version_info < (3, 12):
            watcher = entered
        if not watcher.is_active():
            raise RuntimeError(
                "asyncio.get_child_watcher() is not activated, subprocess support is not installed."
            )
        yield watcher


def _find() -> Any | None:
    if sys.version_info >= (3, 14):
        return None
    policy: Any = asyncio.get_event_loop_policy()
    getter = getattr(type(policy), "get_child_watcher", None)
    unix: Any = asyncio.unix_events
    if getter is None:
        return None
    if getter is unix._UnixDefaultEventLoopPolicy.get_child_watcher:
        watcher = policy._watcher  # the method would make one, and warn of its deprecation
    else:
        try:
            watcher = policy.get_child_watcher()
        except NotImplementedError:
            return None
    replaced = (type(None), unix.ThreadedChildWatcher, unix.PidfdChildWatcher)
    return None if type(watcher) in replaced else watcher
