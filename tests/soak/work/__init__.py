"""What the soak does, by kinds: `await kind(ground, rng)` is one job, and leaves nothing.

A job may be cancelled at any moment, so it gives back in `finally` what it has.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.soak.ground import Ground
from tests.soak.site import Site

Work = Callable[[Ground, random.Random], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    work: Work
    weight: int  # how often it is chosen, beside others
    expects: tuple[type[BaseException], ...]  # what a job may end with besides


LOOPS = ("asyncio", "penstock")


@dataclass(frozen=True)
class Subject:
    ground: Callable[[AsyncExitStack], Ground]
    kinds: dict[str, Kind]
    seconds: int  # of a whole soak
    loops: tuple[str, ...] = LOOPS


KINDS: dict[str, Kind] = {}
HTTP_KINDS: dict[str, Kind] = {}
SUBJECTS = {
    "loop": Subject(Ground, KINDS, 3600),
    "http": Subject(Site, HTTP_KINDS, 1800, ("penstock",)),
}


def kind(
    weight: int = 10, expects: tuple[type[BaseException], ...] = (), among: dict[str, Kind] = KINDS
) -> Callable[[Work], Work]:
    def add(work: Work) -> Work:
        among[work.__name__] = Kind(work, weight, expects)
        return work

    return add


from . import (  # noqa: E402
    connections,  # noqa: F401
    datagrams,  # noqa: F401
    files,  # noqa: F401
    http,  # noqa: F401
    http_ends,  # noqa: F401
    processes,  # noqa: F401
    tasks,  # noqa: F401
    threads,  # noqa: F401
    tls,  # noqa: F401
    websockets,  # noqa: F401
)
