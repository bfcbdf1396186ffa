"""What a process and a loop have open, and what of it is left after a call."""

import asyncio
import gc
import os
import socket
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from penstock import _core

from tests.descriptors import open_fds

PATIENCE = 5  # seconds


@dataclass(frozen=True)
class Census:
    fds: dict[int, str]
    children: frozenset[str]
    threads: frozenset[threading.Thread]
    tasks: frozenset[asyncio.Task]
    held: Counter[str]

    @classmethod
    def take(cls, loop):
        return cls(
            open_fds(), children(), threads(), frozenset(asyncio.all_tasks(loop)), held_by(loop)
        )

    def beyond(self, before, expected_fds):
        """What is here and was not there, by kind; nothing, where all has been given back."""
        left = {
            "descriptors": {
                fd: what
                for fd, what in self.fds.items()
                if before.fds.get(fd) != what and fd not in expected_fds
            },
            "child processes": self.children - before.children,
            "threads": self.threads - before.threads,
            "tasks": self.tasks - before.tasks,
            "held by the loop": self.held - before.held,
        }
        return {kind: things for kind, things in left.items() if things}


def children():
    """The ids of the child processes, zombies among them."""
    found = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                found.update(file.read().split())
        except OSError:
            pass  # the thread has ended
    return frozenset(found)


def threads():
    """Python's threads but those of default executors, which stay for the next call."""
    return frozenset(
        thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")
    )


def held_by(loop):
    """Timers, callbacks and waits that the loop has and that something will come of."""
    if isinstance(loop, _core.Loop):
        referents = gc.get_referents(loop)
        things = [thing for thing in referents if not isinstance(thing, (dict, list))]
        for container in referents:
            if isinstance(container, (dict, list)):
                things += container
    else:
        things = [*loop._scheduled, *loop._ready]
        for key in loop._selector.get_map().values():
            things += [handle for handle in key.data if handle is not None]
    return Counter(name for name in map(_named, things) if name is not None)


def _named(thing):
    if isinstance(thing, asyncio.Handle):
        is_over = thing.cancelled()
    elif isinstance(thing, asyncio.Task):
        return None  # counted as a task
    elif asyncio.isfuture(thing) or type(thing).__name__ == "Sleep":
        is_over = thing.done()
    else:
        is_over = not isinstance(thing, (asyncio.BaseTransport, socket.socket))
    return None if is_over else type(thing).__name__


async def nothing_beyond(before: Census, expected_fds: Collection[int]) -> None:
    """Let pass what follows a cancellation, in this loop and in threads and processes, until
    nothing is left of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    turns = 0
    while left := Census.take(loop).beyond(before, expected_fds):
        assert loop.time() < deadline, f"left behind: {left}"
        turns += 1
        await asyncio.sleep(0 if turns < 20 else 0.001)
