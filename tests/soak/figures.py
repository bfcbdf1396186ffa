"""What a process has at a moment when nothing is under way, and whether it has grown."""

import asyncio
import ctypes
import gc
import itertools
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.cancel.census import Census

LIBC = ctypes.CDLL(None)
# A sanitizer keeps what is freed for a while, and needs much itself: memory then says nothing.
IS_SANITIZED = any(hasattr(LIBC, f"__{name}_init") for name in ("asan", "tsan"))
RESOLVER_THREADS = 8  # of the loop's own, at most, which end when they have been idle for a while


# mallinfo(3)
MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2.split()]


def heap() -> int:
    """Bytes that malloc() has given and not got back; Python's small objects lie elsewhere."""
    if not hasattr(LIBC, "mallinfo2"):  # glibc before 2.33, or none
        return 0
    LIBC.mallinfo2.restype = Mallinfo2
    info = LIBC.mallinfo2()
    return info.uordblks + info.hblkhd


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def our_objects() -> Counter[str]:
    """By type; without what is cancelled and stays for a while: timers until half of their heap is,
    the wait for a descriptor until its number has another."""
    return Counter(
        type(thing).__qualname__
        for thing in gc.get_objects()
        if type(thing).__module__.partition(".")[0] == "penstock"
        and not (isinstance(thing, asyncio.Handle | asyncio.Future) and thing.cancelled())
        and not (type(thing).__name__ == "Sleep" and thing.done())
    )


NOTHING = Census({}, frozenset(), frozenset(), frozenset(), Counter())


@dataclass(frozen=True)
class Figures:
    jobs: int
    census: Census
    objects: Counter[str]
    native_threads: int
    resident: int
    heap: int
    blocks: int

    @classmethod
    def take(cls, loop: asyncio.AbstractEventLoop, jobs: int) -> "Figures":
        for _ in range(2):  # what a finalizer has let go
            gc.collect()
        if hasattr(LIBC, "malloc_trim"):
            LIBC.malloc_trim(0)
        return cls(
            jobs,
            Census.take(loop),
            our_objects(),
            native_threads(),
            resident(),
            heap(),
            sys.getallocatedblocks(),
        )

    def without_names(self) -> "Figures":
        """To be kept by the hundred, and yet not to be what grows."""
        return replace(self, census=NOTHING, objects=Counter())

    def beyond(self, first: "Figures") -> dict[str, object]:
        """What is counted and may not grow at all."""
        grown = self.census.beyond(first.census, ())
        if objects := self.objects - first.objects:
            grown["native objects"] = objects
        if self.native_threads > first.native_threads + RESOLVER_THREADS:
            grown["threads of the system"] = self.native_threads
        return grown


@dataclass(frozen=True)
class Measure:
    name: str
    unit: str
    scale: int
    leeway: int  # by which it may end above where it began
    a_job: float  # and so much more for each job


# Twice of what runs have shown that leak nothing, at least.
MEASURES = {
    "resident": Measure("resident memory", "KiB", 1024, 2 << 20, 2.0),
    "heap": Measure("malloc()'s heap", "KiB", 1024, 2 << 20, 0.5),
    "blocks": Measure("Python's memory", "blocks", 1, 2000, 0.005),
}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between any two: a quarter of the points may be anything."""
    pairs = itertools.combinations(points, 2)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] != a[0]]
    return statistics.median(slopes) if slopes else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """From the first to the last, by the trend of all."""
    return slope(points) * (points[-1][0] - points[0][0])


def grown(history: Sequence[Figures]) -> dict[str, object]:
    """What is measured and has grown by more than the bound."""
    if IS_SANITIZED:
        return {}
    found: dict[str, object] = {}
    jobs = history[-1].jobs - history[0].jobs
    for field, measure in MEASURES.items():
        by = growth([(figures.jobs, getattr(figures, field)) for figures in history])
        if by > measure.leeway + measure.a_job * jobs:
            found[measure.name] = (
                f"by {by / measure.scale:,.0f} {measure.unit} in {jobs:,} jobs, "
                f"{by / jobs:.3g} a job"
            )
    return found
