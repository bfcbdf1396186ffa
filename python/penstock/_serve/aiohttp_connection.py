"""One client of an aiohttp application: aiohttp's own protocol, and what its deadlines go by.

aiohttp bounds the lines of a head, not the whole, and has a timer for what is between requests
only. So a head is measured on its way to aiohttp's parser, and `check()` is called every now and
then, as the native connections are. What is told of requests by the methods of aiohttp's that are
overridden here, and by the factory of its requests, is all that is known of them. Where a head
begins in one read with the end of what stands before it, only aiohttp's parser knows that it has.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web

from .config import Config

# Of struct tcp_info: tcpi_bytes_acked and tcpi_notsent_bytes.
_ACKED_AT, _UNSENT_AT = 120, 144
_INFO_SIZE = 148
_BEHIND_TARGET = len(" ") + len(" HTTP/1.1\r\n")
_END = b"\r\n\r\n"


class Owner(Protocol):
    """What the connections of a server have in common."""

    config: Config
    is_draining: bool


def answer(status: int, reason: str) -> bytes:
    """A response to what aiohttp has not seen."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain\r\n"
        f"content-length: {len(reason)}\r\nconnection: close\r\n\r\n{reason}"
    ).encode()


class Head:
    """How long the head is that comes."""

    def __init__(self) -> None:
        self.size = 0
        self._last = b""  # of which its end may be a part

    def feed(self, data: bytes) -> bool:
        """Whether its end has come."""
        if not self.size:
            data = data.lstrip(b"\r\n")  # empty lines may stand before it
        there = self._last + data
        end = there.find(_END)
        self.size += end + len(_END) - len(self._last) if end >= 0 else len(data)
        self._last = there[1 - len(_END) :]
        return end >= 0


class Uptake:
    """Whether a client takes what it is sent, as its kernel acknowledges it.

    Our own queue does not tell: a file goes past it, and it may be one piece that takes long.
    """

    def __init__(self) -> None:
        self._since: float | None = None  # nothing waits where that is not set
        self._taken = 0  # then

    @property
    def is_due(self) -> bool:
        """Something has waited for the client at the last look."""
        return self._since is not None

    def check(
        self, transport: Any, given: int, is_sending: bool, config: Config, now: float
    ) -> bool:
        """False for a client that takes less than --body-rate for --timeout-write.

        `is_sending`: there is more to come than what has been given.
        """
        queued = transport.get_write_buffer_size()
        taken, unsent = _sent(transport, given - queued)
        if not config.timeout_write or not (queued or unsent or is_sending):
            self._since = None
            return True
        since = self._since
        if since is not None and now - since <= config.timeout_write:
            return True
        is_late = since is not None and taken - self._taken <= (now - since) * config.body_rate
        self._since, self._taken = now, taken
        return not is_late


def _sent(transport: Any, given: int) -> tuple[int, int]:
    """A number that grows by what the client takes, and what waits for it in the kernel.

    Of a Unix socket the kernel tells no such thing: what it has taken in counts.
    """
    try:
        info = transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE
        )
    except OSError:
        return given, 0
    if len(info) < _INFO_SIZE:
        return given, 0
    return (
        struct.unpack_from("=Q", info, _ACKED_AT)[0],
        struct.unpack_from("=I", info, _UNSENT_AT)[0],
    )


def _has_unread(transport: Any) -> bool:
    """Whether something has come that we have not read: it is we who are late, not the client."""
    count = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    return any(count)


class Pace:
    """Whether a body comes as fast as it has to."""

    def __init__(self, now: float) -> None:
        self._begun = self._since = now
        self._before = self._last = 0  # bytes, then

    def rest(self, count: int, now: float) -> None:
        """It is we who do not read."""
        self._begun = self._since = now
        self._before = self._last = count

    def check(self, count: int, config: Config, now: float) -> bool:
        """Whether it does; `count` bytes have come."""
        if count != self._last:
            self._last, self._since = count, now
        if config.timeout_body and now - self._since > config.timeout_body:
            return False
        elapsed = now - self._begun
        is_asked_for = config.body_rate and elapsed > config.timeout_body_grace
        return not is_asked_for or count - self._before >= elapsed * config.body_rate


class Connection(web.RequestHandler):
    """As a protocol it is aiohttp's."""

    def __init__(self, owner: Owner, server: web.Server, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **options)
        self.owner = owner
        self.now = loop.time
        self.line: Any = None  # the transport, until it is lost: aiohttp lets go of it before
        self.request: web.BaseRequest | None = None  # the one under way
        self.body: Any = None  # of the last request; None: there was none
        self.pace = Pace(0)
        self.uptake = Uptake()
        self.head = Head()
        self.head_since: float | None = None  # its first byte
        self.is_measured = False  # the head of the request that is due, or under way
        self.idle_since = 0.0
        self.refused: float | None = None
        self.is_sending_file = False
        self.file_bytes = 0  # of the response under way, which its writer does not count

    # -- aiohttp's, and what is told by it --

    def connection_made(self, transport: Any) -> None:
        self.line = transport
        self.idle_since = self.now()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.line = self.request = None

    def data_received(self, data: bytes) -> None:
        # aiohttp calls it itself, without data, for what it has kept back.
        if not data or not self._is_head_due or self._measure(data):
            super().data_received(data)

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> Any:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._end()

    def begin(self, request: web.BaseRequest, body: Any) -> None:
        """There is a request."""
        self.request, self.body = request, body
        self.pace = Pace(self.now())
        self.uptake = Uptake()  # what has been given to send is counted for each request
        self.file_bytes = 0
        self.head_since = None

    def _end(self) -> None:
        self.request = None
        self.is_measured = False
        self.head = Head()
        self.idle_since = self.now()
        # Not before: it would hear nothing more of a body that still comes.
        if self.owner.is_draining and self.body.is_eof():
            self.close()

    def _file_leaves(self, count: int | None) -> None:
        """loop.sendfile() has sent so much, or is done."""
        self.is_sending_file = count is not None
        self.file_bytes += count or 0

    # -- the head --

    @property
    def _is_head_due(self) -> bool:
        """Whether the next byte is of a head, and not of what aiohttp knows of already."""
        is_between = self.request is None and not self.is_measured and self.refused is None
        return is_between and (self.body is None or self.body.is_eof())

    def _measure(self, data: bytes) -> bool:
        """False where the client has been refused."""
        self.is_measured = self.head.feed(data)
        if self.head.size and self.head_since is None:
            self.head_since = self.now()
        if self.head.size <= self.owner.config.limit_head:
            return True
        self._refuse(431, "the head is too long")
        return False

    @property
    def has_too_long_head(self) -> bool:
        """Of the request under way, which may have come behind another."""
        request = self.request
        if self.is_measured or request is None:
            return False
        size = len(request.method) + len(request.raw_path) + _BEHIND_TARGET
        size += sum(len(name) + len(value) + 4 for name, value in request.raw_headers) + 2
        return bool(size > self.owner.config.limit_head)

    # -- deadlines --

    def check(self, now: float) -> None:
        """Close it where it has taken longer than it may."""
        if self.line is None:
            return
        config = self.owner.config
        looks = self.request is not None or self.uptake.is_due or self.line.get_write_buffer_size()
        given = self.request.writer.output_size + self.file_bytes if self.request is not None else 0
        if looks and not self.uptake.check(self.line, given, self.is_sending_file, config, now):
            self.line.abort()
        elif self.refused is not None:
            if now - self.refused > config.timeout_linger:
                self.line.abort()
        elif self.request is not None:
            self._check_body(self.request, now)
        elif self.body is not None and not self.body.is_eof():
            pass  # aiohttp throws the rest of it away, for a while
        elif self.head_since is not None:
            is_late = config.timeout_head and now - self.head_since > config.timeout_head
            if is_late and not _has_unread(self.line):
                self._refuse(408, "request head timed out")
        elif self.uptake.is_due:
            self.idle_since = now
        else:
            idle = now - self.idle_since
            allowed = config.timeout_head if self.body is None else config.timeout_keep_alive
            is_left_over = self.owner.is_draining and idle >= config.timeout_drain
            is_over = is_left_over or (allowed and idle > allowed)
            if is_over and not _has_unread(self.line):
                self.force_close()

    def _check_body(self, request: web.BaseRequest, now: float) -> None:
        if self.body.is_eof():
            return
        # Where it is compressed, the other is not the client's pace. An older aiohttp has no such.
        count = getattr(self.body, "total_raw_bytes", self.body.total_bytes)
        if self._reading_paused:
            self.pace.rest(count, now)
        elif self.pace.check(count, self.owner.config, now) or _has_unread(self.line):
            return
        elif request.writer.output_size or self.line.get_write_buffer_size():
            self.line.abort()
        else:
            self.line.write(answer(408, "request body timed out"))
            self.force_close()

    def _refuse(self, status: int, reason: str) -> None:
        """Where no request is under way: the rest of what it sends is thrown away."""
        self.refused = self.now()
        self.line.write(answer(status, reason))
        self.close()
        if self.line.can_write_eof():
            self.line.write_eof()
