"""A random play of streams at both ends of a connection: what each read, drain and close ends with.

As in connection.py one end is asked for something at a time. A read may wait, and be cancelled. A
play is known by its seed.
"""

import asyncio
import random
import socket
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from tests.certificates import contexts

from .connection import FLOOD, SILENCE, pattern

STEPS = 20  # of a play, at most
LIMIT = 1000  # of a reader, over twice of which its transport is paused


class End:
    def __init__(self, play: "Play", name: str) -> None:
        self.play = play
        self.name = name
        self.written = 0
        self.tasks: dict[str, asyncio.Task[Any]] = {}

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def start(self, kind: str, what: str, work: Coroutine[Any, Any, Any]) -> None:
        """One of a kind at a time: asyncio has no other order for them."""
        if kind in self.tasks and not self.tasks[kind].done():
            work.close()
            return
        self.tasks[kind] = task = self.play.loop.create_task(work)
        task.add_done_callback(lambda task: self.tell(f"{what} -> {fate(task)}"))

    def tell(self, what: str) -> None:
        self.play.heard += 1
        self.play.told[self.name].append(what)

    def attempt(self, step: Callable[["End"], object]) -> None:
        try:
            self.tell(f"{step.__name__}: {step(self)!r}")
        except Exception as error:
            self.tell(f"{step.__name__}: {error!r}")


def fate(task: "asyncio.Task[Any]") -> str:
    if task.cancelled():
        return "cancelled"
    if task.exception() is not None:
        return repr(task.exception())
    data = task.result()
    return f"{len(data)} bytes, {zlib.crc32(data)}" if isinstance(data, bytes) else repr(data)


def reads(method: str, *args: Any) -> Callable[[End], object]:
    def read(end: End) -> object:
        what = f"{method}{args}"
        return end.start("read", what, getattr(end.reader, method)(*args))

    read.__name__ = f"begins {method}{args}"
    return read


def cancels(kind: str) -> Callable[[End], object]:
    def cancel(end: End) -> object:
        return kind in end.tasks and end.tasks[kind].cancel()

    cancel.__name__ = f"cancels {kind}"
    return cancel


def writes(size: int) -> Callable[[End], object]:
    def write(end: End) -> object:
        data = pattern(end.written, size)
        end.writer.write(data)
        end.written += size
        return None

    write.__name__ = f"writes {size}"
    return write


def drains(end: End) -> object:
    return end.start("drain", "drain", end.writer.drain())


def waits_closed(end: End) -> object:
    return end.start("close", "wait_closed", end.writer.wait_closed())


def ends(end: End) -> object:
    return end.writer.write_eof()


def closes(end: End) -> object:
    return end.writer.close()


def aborts(end: End) -> object:
    return end.writer.transport.abort()


def looks(end: End) -> object:
    return end.reader.at_eof(), end.reader.exception(), end.writer.is_closing()


MOVES: list[Callable[[End], object]] = [
    reads("read", 1),
    reads("read", 100),
    reads("read"),
    reads("readline"),
    reads("readuntil", b"q"),
    reads("readexactly", 10),
    reads("readexactly", 1500),
    reads("readexactly", 10_000),
    cancels("read"),
    cancels("drain"),
    cancels("close"),
    writes(1),
    writes(300),
    writes(5000),
    writes(FLOOD),
    drains,
    drains,
    waits_closed,
    ends,
    closes,
    aborts,
    looks,
]


class Play:
    def __init__(self, seed: int, link: str) -> None:
        self.rng = random.Random(seed)
        self.link = link
        self.told: dict[str, list[str]] = {"a": [], "b": [], "loop": []}
        self.heard = 0

    async def run(self) -> dict[str, list[str]]:
        """What each end was told."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self._on_error)
        self.ends = [End(self, "a"), End(self, "b")]
        await self._connect()
        await self.wait_until_silent()
        for _ in range(self.rng.randint(1, STEPS)):
            end, move = self.rng.choice(self.ends), self.rng.choice(MOVES)
            if not self._is_left_out(end, move.__name__):
                end.attempt(move)
            await self.wait_until_silent()
        for end in self.ends:
            if not end.writer.is_closing():
                end.writer.transport.abort()
            await self.wait_until_silent()
        for end in self.ends:
            for kind, task in end.tasks.items():
                if task.cancel():
                    end.tell(f"{kind} does not end")
            await self.wait_until_silent()
        return self.told

    def _is_left_out(self, end: End, move: str) -> bool:
        """What asyncio fails of: see docs/compatibility.md."""
        is_closing = end.writer.is_closing()
        if self.link == "tls":
            # Once a reader has paused, a close may wait for ever.
            if move in (f"writes {FLOOD}", "writes 5000"):
                return True
            return is_closing and move.startswith(("writes", "begins"))
        return is_closing and move.startswith(("writes", "aborts"))

    async def wait_until_silent(self) -> None:
        silent, heard = 0, self.heard
        while silent < SILENCE:
            await asyncio.sleep(0)
            silent, heard = (silent + 1 if heard == self.heard else 0), self.heard

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.told["loop"].append(f"{context['message']}, {context.get('exception')!r}")

    async def _connect(self) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        options: list[dict[str, Any]] = [{}, {}]
        if self.link == "tls":
            client, server = contexts()
            options = [{"ssl": client, "server_hostname": "localhost"}, {"ssl": server}]
        made = asyncio.Event()
        b = self.ends[1]

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            b.connect(reader, writer)
            made.set()

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=LIMIT, loop=self.loop)
            return asyncio.StreamReaderProtocol(reader, connected, loop=self.loop)

        streams, _ = await asyncio.gather(
            asyncio.open_connection(sock=near, limit=LIMIT, **options[0]),
            self.loop.connect_accepted_socket(factory, far, **options[1]),
        )
        self.ends[0].connect(*streams)
        await made.wait()
