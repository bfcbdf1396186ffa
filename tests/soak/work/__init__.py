"""What the soak does, by kinds: `await kind(ground, rng)` is one job, and leaves nothing.

A job may be cancelled at any moment, so it gives back in `finally` what it has.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.soak.ground import Ground

Work = Callable[[Ground, random.Random], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    work: Work
    weight: int  # how often it is chosen, beside others
    expects: tuple[type[BaseException], ...]  # what a job may end with besides


KINDS: dict[str, Kind] = {}


def kind(weight: int = 10, expects: tuple[type[BaseException], ...] = ()) -> Callable[[Work], Work]:
    def add(work: Work) -> Work:
        KINDS[work.__name__] = Kind(work, weight, expects)
        return work

    return add


from . import connections, datagrams, files, processes, tasks, threads, tls  # noqa: E402, F401
