"""A soak: jobs that a seed chooses, many at a time and some of them cancelled, for as long as one
likes; every now and then all of them end, and nothing may have grown.
"""

import asyncio
import contextlib
import logging
import random
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.soak.figures import Figures, grown
from tests.soak.ground import LOST, Ground
from tests.soak.work import SUBJECTS

AT_ONCE = 16
CANCELLED = 0.25  # of the jobs
PERIOD = 60.0  # seconds between two censuses, at most
CENSUSES = 15  # at least, however short the run
WARM_UP = 0.2  # of the run, whose figures say nothing of a trend
PATIENCE = 30.0  # seconds that a job may take, or what is left behind to end
LOGGERS = ("asyncio", "penstock", "websockets")  # whose errors are failures


class Failure(Exception):
    """One line: what went wrong."""


def told(things: dict[str, object]) -> str:
    return "; ".join(f"{name}: {what}" for name, what in things.items())


def where(error: BaseException) -> str:
    """The exception and the innermost line of ours that it came through."""
    lines = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "/soak/" in frame.filename
    ]
    line = f" in {lines[-1].name}(), line {lines[-1].lineno}" if lines else ""
    return f"{error!r}{line}"


class Soak:
    def __init__(
        self, seed: int, seconds: float, only: list[str] | None = None, subject: str = "loop"
    ) -> None:
        self.seed = seed
        self.seconds = seconds
        self.subject = subject
        self._all_kinds = SUBJECTS[subject].kinds
        self.kinds = only or list(self._all_kinds)
        self.rng = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.first: Figures
        self.last: Figures
        self.history: list[Figures] = []
        self.summary = ""
        self.unexpected: list[str] = []
        self._is_expected: Callable[[logging.LogRecord], bool] = lambda _: False
        self.show: Callable[[float, Figures], None] = lambda *_: None

    @property
    def jobs(self) -> int:
        return self.done.total() + self.cancelled.total()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_report)
        with self._nothing_unexpected():
            async with contextlib.AsyncExitStack() as props:
                ground = SUBJECTS[self.subject].ground(props)
                self._is_expected = ground.is_expected
                await ground.prepare()
                await asyncio.sleep(0)
                self.first = Figures.take(loop, 0)
                for name in self.kinds:
                    await self._job(ground, name, f"{self.seed}/{name}", is_cut=False)
                await self._settle(ground)
                await self._soak(ground)
                self.summary = ground.summary()
        self._check()

    async def _soak(self, ground: Ground) -> None:
        period = min(PERIOD, self.seconds / CENSUSES)
        begun = time.monotonic()
        number = 0
        while (now := time.monotonic() - begun) < self.seconds:
            number = await self._work(ground, number, time.monotonic() + period)
            figures = await self._settle(ground)
            self.show(time.monotonic() - begun, figures)
            if now >= self.seconds * WARM_UP:
                self.history.append(figures.without_names())
        if found := grown(self.history):
            raise Failure(f"grown: {told(found)}")

    async def _work(self, ground: Ground, number: int, until: float) -> int:
        running: set[asyncio.Task[None]] = set()
        weights = [self._all_kinds[name].weight for name in self.kinds]
        while time.monotonic() < until:
            while len(running) < AT_ONCE:
                [name] = self.rng.choices(self.kinds, weights)
                number += 1
                job = self._job(ground, name, f"{self.seed}/{number}")
                running.add(asyncio.create_task(job))
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            self._check()
        if running:
            await asyncio.wait(running)
        self._check()
        return number

    async def _job(self, ground: Ground, name: str, seed: str, is_cut: bool = True) -> None:
        """One job, whose choices depend on nothing but its seed."""
        rng = random.Random(seed)
        kind = self._all_kinds[name]
        is_cut = is_cut and rng.random() < CANCELLED
        turns, pause = rng.randint(0, 20), rng.choice((0, 0, rng.random() / 200))
        task = asyncio.create_task(kind.work(ground, rng), name=name)
        if is_cut:
            await asyncio.sleep(pause)
            for _ in range(turns):
                await asyncio.sleep(0)
            is_cut = task.cancel()
        _, pending = await asyncio.wait([task], timeout=PATIENCE)
        if pending:
            self.unexpected.append(f"job {seed}, {name}, does not end: {task.get_stack()}")
        elif task.cancelled():
            if is_cut:
                self.cancelled[name] += 1
            else:
                self.unexpected.append(f"job {seed}, {name}, was cancelled by nobody")
        elif (error := task.exception()) is None or isinstance(error, kind.expects):
            self.done[name] += 1
        else:
            self.unexpected.append(f"job {seed}, {name}: {where(error)}")

    async def _settle(self, ground: Ground) -> Figures:
        """Ends when nothing is left of the jobs, or fails."""
        deadline = time.monotonic() + PATIENCE
        while True:
            await asyncio.sleep(0.01)
            figures = Figures.take(ground.loop, self.jobs)
            self._check()
            left = figures.beyond(self.first)
            if not left:
                self.last = figures
                return figures
            if time.monotonic() > deadline:
                raise Failure(f"grown: {told(left)}")

    # ---- what must not happen ---------------------------------------------------------------

    def _check(self) -> None:
        if self.unexpected:
            raise Failure(self.unexpected[0])

    def _on_report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        what, error = context["message"], context.get("exception")
        # A StreamReaderProtocol's finalizer looks at its future's exception, lest it is reported.
        # Of a cycle the future may be finalized first: seldom, on asyncio's loop as well.
        if what == "Future exception was never retrieved" and isinstance(error, LOST):
            return
        details = {name: value for name, value in context.items() if name != "message"}
        self.unexpected.append(f"the exception handler was told: {what} {details!r}")

    @contextlib.contextmanager
    def _nothing_unexpected(self) -> Iterator[None]:
        """Unraisable exceptions, threads that end by one, warnings and the logger's errors."""

        def unraisable(found: "sys.UnraisableHookArgs") -> None:
            self.unexpected.append(f"unraisable: {found.exc_value!r} in {found.object!r}")

        def thread_ended(found: threading.ExceptHookArgs) -> None:
            self.unexpected.append(f"a thread ended by {found.exc_value!r}")

        def warned(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            self.unexpected.append(f"{category.__name__}: {message}")

        class Log(logging.Handler):
            def emit(log, record: logging.LogRecord) -> None:
                if not self._is_expected(record):
                    error = record.exc_info and record.exc_info[1]
                    told = (
                        f"{record.getMessage()}: {where(error)}" if error else record.getMessage()
                    )
                    self.unexpected.append(f"logged: {told}")

        before = sys.unraisablehook, threading.excepthook
        sys.unraisablehook, threading.excepthook = unraisable, thread_ended
        log = Log(logging.ERROR)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(log)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = warned
                yield
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(log)
            sys.unraisablehook, threading.excepthook = before
