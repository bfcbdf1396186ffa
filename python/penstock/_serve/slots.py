"""A supervisor's slots, and the processes that serve there."""

from __future__ import annotations

import asyncio
import enum
import os
import random
import signal
import socket
import subprocess
import sys

from . import metrics
from .channel import Channel
from .config import Config
from .worker import Assignment

_FIRST_DELAY = 0.1  # seconds
_LONGEST_DELAY = 30.0
_JITTER = 0.1  # the part of a limit by which workers differ


class Phase(enum.Enum):
    STARTING = enum.auto()
    READY = enum.auto()
    ENDING = enum.auto()  # it was told to


class Process:
    """One worker, as the supervisor sees it."""

    def __init__(
        self,
        slot: Slot,
        process: subprocess.Popen[bytes],
        channel: Channel,
        fds: tuple[int, ...],
        config: Config,
    ) -> None:
        self.slot = slot
        self.process = process
        self.channel = channel
        self.fds = frozenset(fds)  # of the listening sockets that it has
        self.phase = Phase.STARTING
        self.failure: str | None = None  # why it could not start, in its own words
        self.counts: metrics.Counts | None = None
        self.resident: int | None = None
        self.ready_at = self.heard_at = 0.0
        self.kill_at = float("inf")
        self.is_hanging = False
        jitter = random.uniform(1 - _JITTER, 1)
        self.most_seconds = config.limit_worker_lifetime * jitter or float("inf")
        self.most_resident = config.limit_worker_rss * jitter or float("inf")
        self.most_requests = float("inf")
        if config.limit_max_requests:
            extra = random.randint(0, config.limit_max_requests_jitter)
            self.most_requests = config.limit_max_requests + extra

    def __str__(self) -> str:
        return f"worker {self.slot.index} (pid {self.process.pid})"

    def limit_reached(self, now: float) -> str | None:
        """Which, by its name in metrics."""
        if now - self.ready_at >= self.most_seconds:
            return "lifetime"
        if self.counts is not None and self.counts["requests"] >= self.most_requests:
            return "requests"
        if self.resident is not None and self.resident >= self.most_resident:
            return "rss"
        return None


def spawn(slot: Slot, app: str, config: Config, count: int, fds: tuple[int, ...]) -> Process:
    """A process of its own, with these sockets, one of `count`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = {
        **vars(config),
        # The supervisor's to see to. Whether there may be others a worker tells WSGI.
        "workers": 0 if config.reload else count,
        "reload": False,
        "metrics_port": None,
        "limit_max_requests": 0,
        "limit_worker_lifetime": 0,
        "limit_worker_rss": 0,
        "fd": None,
    }
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                "-P",  # the current directory is the application's to import from, not ours
                "-m",
                "penstock._serve.worker",
                str(theirs.fileno()),
            ],
            pass_fds=(theirs.fileno(), *fds),
            env=environment,
        )
    made = Process(slot, process, Channel(ours), fds, config)
    assignment = Assignment(app, options, slot.index, fds)
    made.channel.send("assignment", assignment=assignment.to_text())
    return made


class Slot:
    """A place for one worker, with listening sockets of its own."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.serving: Process | None = None  # or the first one, which starts
        self.successor: Process | None = None
        self.leaving: list[Process] = []  # of slots that are no more: until this has a successor
        self.failures = 0  # in a row
        self.retry: asyncio.TimerHandle | None = None
        self.not_before = 0.0  # the next attempt to replace
        self.counted: metrics.Counts | None = None  # by workers that are gone
        self.restarts: dict[str, int] = {}


def delay_after(failures: int) -> float:
    """Seconds before the next attempt."""
    return min(_FIRST_DELAY * 2 ** (failures - 1), _LONGEST_DELAY) if failures else 0.0


def how_it_ended(code: int) -> str:
    """A process's end, from Popen.returncode."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
