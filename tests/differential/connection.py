"""A random play of two ends of a connection: what each is told, in order.

One end is asked for something, then all that follows from it passes, then the other or the same is
asked for the next. So there is one order for each end, whatever the loop reads at a time; what was
received is told as all that the peer has written, or not all of it. A play is known by its seed.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from typing import Any

from tests.certificates import contexts

STEPS = 14  # of a play, at most
SILENCE = 40  # turns in which nothing is told: then nothing will be
FLOOD = 2_000_000  # more than the buffers of two sockets hold
PATTERN = random.Random(0).randbytes(4099)


def pattern(offset: int, size: int) -> bytes:
    """A part of an endless stream."""
    offset %= len(PATTERN)
    return (PATTERN * ((offset + size) // len(PATTERN) + 1))[offset : offset + size]


class Fault(Exception):
    pass


class End(asyncio.Protocol):
    """One end; `reactions` says what it does when it is told something, once each."""

    peer: "End"
    transport: asyncio.Transport

    def __init__(self, play: "Play", name: str) -> None:
        rng = play.rng
        self.play = play
        self.name = name
        self.written = 0
        self.received = 0
        self.has_news = False
        self.is_connected = self.is_lost = False
        self.keeps_open = rng.random() < 0.5
        self.reactions = {
            event: rng.choice(reactions)
            for event, reactions in REACTIONS.items()
            if rng.random() < 0.15 and event not in play.does_not_react_to
        }

    def tell(self, what: object) -> None:
        self.tell_data()
        self.play.tell(self.name, what)

    def tell_data(self) -> None:
        if self.has_news:
            self.has_news = False
            is_all = self.received == self.peer.written
            self.play.tell(self.name, f"data, {'all' if is_all else 'not all'}")

    def on(self, event: str, what: str = "") -> None:
        self.tell(event + what)
        if reaction := self.reactions.pop(event, None):
            self.attempt(reaction)

    def attempt(self, step: Callable[["End"], object]) -> None:
        try:
            self.tell(f"{step.__name__} -> {step(self)!r}")
        except Fault:
            raise
        except Exception as error:
            self.tell(f"{step.__name__} -> {error!r}")

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.is_connected = True
        self.on("connection_made")

    def data_received(self, data: bytes) -> None:
        if data != pattern(self.received, len(data)):
            self.tell("wrong data")
        self.received += len(data)
        self.play.heard += 1
        self.has_news = True
        if reaction := self.reactions.pop("data", None):
            self.attempt(reaction)

    def eof_received(self) -> bool:
        self.on("eof_received")
        return self.keeps_open

    def pause_writing(self) -> None:
        if self.play.link != "tls":  # asyncio's TLS hands a first flood to the transport below
            self.on("pause_writing")

    def resume_writing(self) -> None:
        if self.play.link != "tls":
            self.on("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.on("connection_lost", f" {exc!r}")


class BufferedEnd(End, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> memoryview:
        self.buffer = bytearray(10_000)
        return memoryview(self.buffer)  # asyncio's TLS reads into copies of parts of a bytearray

    def buffer_updated(self, size: int) -> None:
        self.data_received(bytes(self.buffer[:size]))


def writes(size: int) -> Callable[[End], object]:
    def write(end: End) -> object:
        is_open = not end.transport.is_closing()
        data = pattern(end.written, size)
        # Before it is written: the peer may be told of it at once.
        end.written += size if is_open else 0
        try:
            if size == 1000 and is_open:
                return end.transport.writelines([data[:7], b"", bytearray(data[7:])])
            return end.transport.write(data)
        except RuntimeError:
            end.written -= size if is_open else 0
            raise

    write.__name__ = f"writes {size}"
    return write


def writes_nothing(end: End) -> object:
    return end.transport.write(b"")


def writes_text(end: End) -> object:
    return end.transport.write("text")  # type: ignore[arg-type]


def ends(end: End) -> object:
    return end.transport.write_eof()


def pauses(end: End) -> object:
    return end.transport.pause_reading()


def resumes(end: End) -> object:
    return end.transport.resume_reading()


def closes(end: End) -> object:
    return end.transport.close()


def aborts(end: End) -> object:
    return end.transport.abort()


def limits(end: End) -> object:
    end.transport.set_write_buffer_limits(1000)
    return end.transport.get_write_buffer_limits()


def looks(end: End) -> object:
    transport = end.transport
    return (
        transport.is_reading(),
        transport.is_closing(),
        transport.can_write_eof(),
        end.play.link != "tls" and transport.get_write_buffer_size() > 0,
    )


def swaps(end: End) -> object:
    """The protocol, for one that does the same."""
    transport = end.transport
    new = type(end)(end.play, end.name)
    new.__dict__.update(end.__dict__)
    end.has_news = False
    new.reactions = {}
    new.peer.peer = new
    end.play.ends[end.play.ends.index(end)] = new
    return transport.set_protocol(new)


def fails(end: End) -> object:
    raise Fault(end.name)


STEPS_OF_AN_END: list[Callable[[End], object]] = [
    writes(1),
    writes(10),
    writes(1000),
    writes(FLOOD),
    writes(FLOOD),
    writes_nothing,
    writes_text,
    ends,
    pauses,
    pauses,
    resumes,
    resumes,
    closes,
    aborts,
    limits,
    looks,
    looks,
    swaps,
]
REACTIONS: dict[str, list[Callable[[End], object]]] = {
    "connection_made": [writes(10), writes(FLOOD), pauses, closes, aborts, looks, ends],
    "data": [writes(10), pauses, closes, aborts, looks, fails],
    "eof_received": [writes(10), closes, aborts, looks, fails],
    "pause_writing": [writes(10), closes, aborts, looks],
    # Where it ends the connection, asyncio does so twice.
    "resume_writing": [writes(10), looks],
    "connection_lost": [closes, looks],
}


# Of a connection that has been lost: asyncio may fail by an AttributeError, or even send.
BREAKS_THE_LOST = [step for step in STEPS_OF_AN_END if step.__name__.startswith("writes ")]
BREAKS_THE_LOST += [aborts, swaps]


class Play:
    def __init__(self, seed: int, link: str) -> None:
        self.rng = random.Random(seed)
        self.link = link
        # Of TCP and TLS both ends begin at about the same time. What a peer hears first of a TLS
        # connection that is closed under load, the end or that it cannot write, is a race.
        self.does_not_react_to = {
            "unix": [],
            "tcp": ["connection_made"],
            "tls": ["connection_made", "data", "connection_lost"],
        }[link]
        self.not_of_the_lost = STEPS_OF_AN_END if link == "tls" else BREAKS_THE_LOST
        self.told: dict[str, list[str]] = {"a": [], "b": [], "loop": []}
        self.heard = 0

    def tell(self, who: str, what: object) -> None:
        self.heard += 1
        self.told[who].append(str(what))

    async def run(self) -> dict[str, list[str]]:
        """What each end was told."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self._on_error)
        self.ends = [self.rng.choice((End, BufferedEnd))(self, name) for name in ("a", "b")]
        self.ends[0].peer, self.ends[1].peer = self.ends[1], self.ends[0]
        async with contextlib.AsyncExitStack() as props:
            await getattr(self, f"_connect_by_{self.link}")(props)
            await self.wait_until_silent()
            for _ in range(self.rng.randint(1, STEPS)):
                end, step = self.rng.choice(self.ends), self.rng.choice(STEPS_OF_AN_END)
                if step is pauses and self.link == "tls":
                    continue  # asyncio's close() then waits, for what may never come
                if end.is_connected and not (end.is_lost and step in self.not_of_the_lost):
                    end.attempt(step)
                await self.wait_until_silent()
            for end in self.ends:
                if end.is_connected and not end.is_lost:
                    end.transport.abort()
                await self.wait_until_silent()
        return self.told

    async def wait_until_silent(self) -> None:
        silent, heard = 0, self.heard
        while silent < SILENCE:
            await asyncio.sleep(0)
            silent, heard = (silent + 1 if heard == self.heard else 0), self.heard
        for end in self.ends:
            end.tell_data()

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.tell("loop", f"{context['message'].split(' <')[0]}, {context.get('exception')!r}")

    async def _connect_by_unix(self, props: contextlib.AsyncExitStack) -> None:
        for end, sock in zip(self.ends, self._pair(), strict=True):
            await self.loop.create_connection(lambda end=end: end, sock=sock)
            await self.wait_until_silent()

    async def _connect_by_tls(self, props: contextlib.AsyncExitStack) -> None:
        client, server = contexts()
        a, b = self.ends
        near, far = self._pair()
        await asyncio.gather(
            self.loop.create_connection(
                lambda: a, sock=near, ssl=client, server_hostname="localhost"
            ),
            self.loop.connect_accepted_socket(lambda: b, far, ssl=server),
        )

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    async def _connect_by_tcp(self, props: contextlib.AsyncExitStack) -> None:
        a, b = self.ends
        server = await self.loop.create_server(lambda: b, "127.0.0.1", 0)
        props.callback(server.close)
        address = server.sockets[0].getsockname()
        await self.loop.create_connection(lambda: a, *address)
        while not b.is_connected:
            await asyncio.sleep(0)
        if self.rng.random() < 0.5:
            server.close()
            try:
                await self.loop.create_connection(asyncio.Protocol, *address)
            except OSError as error:
                self.tell("loop", type(error))
