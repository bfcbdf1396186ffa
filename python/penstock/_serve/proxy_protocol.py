"""The PROXY protocol, versions 1 and 2: what a load balancer sends before the client's first byte.

It stands before TLS too, so the connections are accepted here, their header is taken off the
socket, byte for byte and nothing behind it, and only then they become a transport.
A connection without a header, with a malformed one, or of a peer that is not trusted is closed:
"The receiver MUST be configured to only receive the protocol" and "MUST NOT try to guess".

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import itertools
import logging
import re
import socket
import ssl
from typing import Any

from penstock._tls import Tls
from penstock.loop import Loop

from .proxies import Peers

log = logging.getLogger("penstock.server")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_MOST_V1 = 107  # bytes, its line break included
_MOST_V2 = 4096  # bytes of addresses and what follows them; a header may announce 65,535
_POLL = 0.05  # seconds between looks at whether connections are left
_MOST_A_TURN = 64  # connections; the loop has other things to do
NO_BOUND = 1e8  # seconds, of what has to have one
_PAUSE = 0.1  # seconds until accepting is tried again where descriptors are out
_V1 = re.compile(
    rb"PROXY (?:TCP4 ([0-9.]{7,15}) ([0-9.]{7,15})"
    rb"|TCP6 ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}))"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

Ends = tuple[tuple[str, int], tuple[str, int]]  # the client's, and where it has connected to


class Malformed(Exception):
    """The peer has not sent a header as it has to be."""


def ends_of_v1(line: bytes) -> Ends | None:
    """What the line tells; None where it says that it does not know. Raises Malformed."""
    if _V1_UNKNOWN.fullmatch(line):
        return None
    found = _V1.fullmatch(line)
    if found is None:
        raise Malformed("no line of version 1")
    source, destination = found[1] or found[3], found[2] or found[4]
    ports = int(found[5]), int(found[6])
    kind = ipaddress.IPv4Address if found[1] else ipaddress.IPv6Address
    try:
        hosts = [str(kind(each.decode())) for each in (source, destination)]
    except ValueError:
        raise Malformed("an address that is none") from None
    if max(ports) > 65535:
        raise Malformed("a port that is none")
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def length_of_v2(head: bytes) -> int:
    """How much follows the first 16 bytes. Raises Malformed."""
    if head[:12] != _SIGNATURE:
        raise Malformed("no signature")
    if head[12] not in (0x20, 0x21):
        raise Malformed("neither LOCAL nor PROXY of version 2")
    length = int.from_bytes(head[14:16], "big")
    if length > _MOST_V2:
        raise Malformed(f"{length} bytes announced")
    return length


def ends_of_v2(head: bytes, rest: bytes) -> Ends | None:
    """What a header tells; None for a connection of the proxy's own. Raises Malformed."""
    if head[12] == 0x20 or head[13] == 0x00:
        return None
    size = {0x11: 4, 0x21: 16}.get(head[13])
    if size is None:
        raise Malformed("a family or a protocol that no client of TCP has")
    if len(rest) < 2 * size + 4:
        raise Malformed("too short for its addresses")
    _check_values(rest[2 * size + 4 :])
    hosts = [str(ipaddress.ip_address(rest[at : at + size])) for at in (0, size)]
    ports = [int.from_bytes(rest[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _check_values(rest: bytes) -> None:
    """Type, length and value, one behind the other, have to fill what is left."""
    while rest:
        if len(rest) < 3 or len(rest) < 3 + int.from_bytes(rest[1:3], "big"):
            raise Malformed("values that do not fit")
        rest = rest[3 + int.from_bytes(rest[1:3], "big") :]


class Front:
    """Accepts connections, and makes transports of those whose header is right."""

    def __init__(
        self,
        loop: Loop,
        factory: Any,
        trusted: Peers,
        *,
        context: ssl.SSLContext | None,
        backlog: int,
        timeout: float,
    ) -> None:
        """`factory` makes protocols, and knows how many `connections` it has; for one too many it
        raises an OSError. `timeout`: seconds in which a header has to come, and in which TLS's
        handshake behind it has to be done; 0: no bound.
        """
        self._loop = loop
        self._factory = factory
        self._trusted = trusted
        self._backlog = backlog
        self._timeout = timeout or None
        self._tls = None if context is None else self._tls_with(context)
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited = 0  # headers
        self._handshakes: set[asyncio.Transport] = set()

    def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket, until close()."""
        sock.setblocking(False)
        sock.listen(self._backlog)
        self._start(self._accept(sock))

    def close(self) -> None:
        """Accept no more; who has not sent its header is closed."""
        for task in self._tasks:
            task.cancel()

    @property
    def _counted_clients(self) -> int:
        """Connections, from when they are accepted on."""
        count: int = self._factory.connections
        return count + self._awaited + len(self._handshakes)

    async def wait_closed(self) -> None:
        """Until there is no connection, and none on its way."""
        while self._tasks or self._handshakes or self._factory.connections:
            await asyncio.sleep(_POLL)

    def abort_clients(self) -> None:
        """Those amid TLS's handshake: the others are the factory's."""
        for transport in list(self._handshakes):
            transport.abort()

    def _secure_with(self, context: ssl.SSLContext) -> None:
        """Give connections that are accepted from now on that context."""
        self._tls = self._tls_with(context)

    def _tls_with(self, context: ssl.SSLContext) -> Tls:
        return Tls(context, "", self._timeout or NO_BOUND, None)

    def _start(self, coro: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(coro, name="penstock-proxy-protocol")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, sock: socket.socket) -> None:
        for number in itertools.count(1):
            if number % _MOST_A_TURN == 0:
                await asyncio.sleep(0)
            try:
                connection, address = await self._loop.sock_accept(sock)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    continue  # of that connection
                log.error("can't accept: %s", error.strerror)
                await asyncio.sleep(_PAUSE)
                continue
            self._begin(connection, address if isinstance(address, tuple) else None)

    def _begin(self, sock: socket.socket, peer: Any) -> None:
        """From here on it counts: its protocol is made before its header is read."""
        try:
            sock.setblocking(False)
            if not self._trusted.has_client(peer):
                raise Malformed("it is not trusted")
            protocol = self._factory()
        except (Malformed, OSError) as error:
            _turn_away(sock, peer, error)
        else:
            self._awaited += 1
            task = self._start(self._go_on(sock, peer, protocol))
            task.add_done_callback(lambda task: self._gone_on(task, sock))

    async def _go_on(self, sock: socket.socket, peer: Any, protocol: Any) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                ends = await self._read_header(sock)
            self._hand_over(sock, protocol, ends)
        except (Malformed, OSError, EOFError, TimeoutError) as error:
            _turn_away(sock, peer, error)
        except BaseException:
            sock.close()
            raise

    def _gone_on(self, task: asyncio.Task[None], sock: socket.socket) -> None:
        self._awaited -= 1
        if task.cancelled():  # maybe before it ran
            sock.close()

    async def _read_header(self, sock: socket.socket) -> Ends | None:
        first = await self._peek(sock, 1)
        if first == b"P":
            return ends_of_v1(await self._read_line(sock))
        head = await self._read(sock, 16)
        return ends_of_v2(head, await self._read(sock, length_of_v2(head)))

    async def _read_line(self, sock: socket.socket) -> bytes:
        """Up to a line feed; nothing that stands behind it is taken."""
        line = b""
        while not line.endswith(b"\n"):
            if len(line) >= _MOST_V1:
                raise Malformed("a line of version 1 without an end")
            seen = await self._peek(sock, _MOST_V1 - len(line))
            end = seen.find(b"\n") + 1
            line += sock.recv(end or len(seen))
            if not b"PROXY ".startswith(line[:6]):
                raise Malformed("no line of version 1")
        return line

    async def _read(self, sock: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += await self._some(self._loop.sock_recv(sock, count - len(data)))
            if not _SIGNATURE.startswith(data[:12]) and count == 16:
                raise Malformed("no signature")
        return data

    async def _peek(self, sock: socket.socket, count: int) -> bytes:
        while True:
            try:
                data = sock.recv(count, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._readable(sock)
                continue
            if not data:
                raise EOFError("it has ended")
            return data

    async def _some(self, receiving: Any) -> bytes:
        data: bytes = await receiving
        if not data:
            raise EOFError("it has ended")
        return data

    async def _readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(sock, _complete, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)

    def _hand_over(self, sock: socket.socket, protocol: Any, ends: Ends | None) -> None:
        extra = None if ends is None else {"peername": ends[0]}
        if self._tls is None:
            self._loop._make_transport(sock, protocol, None, extra)
        else:
            waiter: asyncio.Future[None] = self._loop.create_future()
            transport = self._loop._make_tls_transport(
                sock, protocol, waiter, self._tls, True, extra
            )
            self._handshakes.add(transport)
            waiter.add_done_callback(lambda _: self._handshake_done(waiter, transport))
        if extra is not None and ends is not None:
            # The transport has it now. It has filled in what the socket says, but not begun yet.
            extra["sockname"] = ends[1]

    def _handshake_done(self, waiter: asyncio.Future[None], transport: asyncio.Transport) -> None:
        self._handshakes.discard(transport)
        if not waiter.cancelled():
            waiter.exception()  # the client's matter


def _turn_away(sock: socket.socket, peer: Any, error: Exception) -> None:
    sock.close()
    log.info("PROXY protocol: connection from %s closed: %s", peer or "unix", error)


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
