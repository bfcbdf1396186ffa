"""create_connection and connect_accepted_socket; happy eyeballs (RFC 8305).

Who closes a socket: until a transport exists, the code that created it; from then on the transport.
A socket that the caller brought is left to the caller until then, before 3.14.8.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Opening network connections".
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from asyncio.log import logger
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from . import _core
from ._base import check_not_tls, check_stream, check_tls_arguments
from ._race import race
from ._resolve import AddressInfo
from ._sock import Sockets
from ._tls import Securing, Tls, tls_of

_CLOSES_WHAT_IT_IS_GIVEN = sys.version_info >= (3, 14, 8)

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


@_core.adopt_sock_methods
class Connecting(Sockets, Securing):
    async def create_connection(
        self,
        protocol_factory: Callable[[], _P],
        host: str | bytes | None = None,
        port: int | str | bytes | None = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, _P]:
        """Connect to a TCP server: the transport and the protocol, after its connection_made().

        The addresses of `host` are tried one after the other, or, with `happy_eyeballs_delay`
        (seconds), a next one each time that the last has not answered by then; `interleave` says
        after how many addresses of the first family another family gets its turn. Instead of `host`
        and `port` a connected stream socket can be given: the transport takes it over. Where no
        address answers, OSError is raised; with `all_errors` an ExceptionGroup of all of them.

        With `ssl`, an SSLContext or True for the default one, the connection is secured and the
        certificate checked against `server_hostname`, which is `host` unless given ("": not
        checked where the default context is used). Raises ssl.SSLError where the handshake fails,
        ConnectionAbortedError where it takes longer than `ssl_handshake_timeout` seconds.
        """
        if server_hostname is not None and not ssl:
            raise ValueError("server_hostname is only meaningful with ssl")
        if server_hostname is None and ssl:
            if not host:
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = host.decode() if isinstance(host, bytes) else host
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_not_tls(sock)
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
        elif sock is None:
            raise ValueError("host and port was not specified and no sock specified")
        else:
            check_stream(sock)
        tls = tls_of(ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)

        if sock is not None:
            transport, protocol = await self._make_connection(protocol_factory, sock, tls=tls)
        else:
            if happy_eyeballs_delay is not None and interleave is None:
                interleave = 1
            sock = await self._connect_to_host(
                (host, port),
                local_addr,
                {"family": family, "type": socket.SOCK_STREAM, "proto": proto, "flags": flags},
                interleave,
                happy_eyeballs_delay,
                all_errors,
            )
            transport, protocol = await self._make_connection(
                protocol_factory, sock, ours=True, tls=tls
            )
        if self.get_debug():
            shown = transport.get_extra_info("socket")
            logger.debug("%r connected to %s:%r: (%r, %r)", shown, host, port, transport, protocol)
        return transport, protocol

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], _P],
        sock: socket.socket,
        *,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, _P]:
        """Make a transport of a stream socket accepted elsewhere; the transport takes it over.

        With `ssl`, an SSLContext, it is a server's end of a TLS connection: see create_server().
        """
        check_stream(sock)
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        check_not_tls(sock)
        tls = tls_of(ssl, "", ssl_handshake_timeout, ssl_shutdown_timeout)
        transport, protocol = await self._make_connection(
            protocol_factory, sock, tls=tls, server_side=True
        )
        if self.get_debug():
            shown = transport.get_extra_info("socket")
            logger.debug("%r handled: (%r, %r)", shown, transport, protocol)
        return transport, protocol

    async def _make_connection(
        self,
        protocol_factory: Callable[[], _P],
        sock: socket.socket,
        *,
        ours: bool = False,
        tls: Tls | None = None,
        server_side: bool = False,
    ) -> tuple[asyncio.Transport, _P]:
        """A transport over a connected stream socket of any family, secured where `tls` is given.

        A socket that is `ours` is closed where no transport comes to be, the caller's as well from
        3.14.8 on, as in asyncio.
        """
        try:
            sock.setblocking(False)
            protocol = protocol_factory()
            waiter: asyncio.Future[None] = self.create_future()
            if tls is None:
                transport = self._make_transport(sock, protocol, waiter)
            else:
                transport = self._make_tls_transport(sock, protocol, waiter, tls, server_side)
        except BaseException:
            if ours:
                self._discard(sock)
            elif _CLOSES_WHAT_IT_IS_GIVEN:
                sock.close()
            raise
        try:
            await waiter
        except BaseException:
            self._abandon(transport)
            raise
        finally:
            del waiter  # its exception's traceback holds this frame
        return transport, protocol

    async def _connect_to_host(
        self,
        address: tuple[Any, Any],
        local_address: tuple[str, int] | None,
        hints: dict[str, int],
        interleave: int | None,
        delay: float | None,
        all_errors: bool,
    ) -> socket.socket:
        candidates = await self._ensure_resolved(address, **hints)
        if not candidates:
            raise OSError("getaddrinfo() returned empty list")
        local: list[AddressInfo] | None = None
        if local_address is not None:
            local = await self._ensure_resolved(local_address, **hints)
            if not local:
                raise OSError("getaddrinfo() returned empty list")
        if interleave:
            candidates = interleaved(candidates, interleave)

        errors: list[list[OSError]] = []

        def attempt(candidate: AddressInfo) -> Coroutine[Any, Any, socket.socket]:
            mine: list[OSError] = []
            errors.append(mine)
            return self._connect_to_address(candidate, local, mine)

        if delay is None:
            connected = await _first_of(map(attempt, candidates))
        else:
            connected = await race(self, map(attempt, candidates), delay, self._discard)
        try:
            if connected is None:
                raise _combined(list(itertools.chain.from_iterable(errors)), all_errors)
            return connected
        finally:
            errors.clear()  # an exception's traceback holds this frame

    async def _connect_to_address(
        self, candidate: AddressInfo, local: list[AddressInfo] | None, errors: list[OSError]
    ) -> socket.socket:
        """A connected socket, or OSError, which is then the last of `errors`."""
        family, kind, proto, _, address = candidate
        sock = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            if local is not None:
                _bind_to_one(sock, family, local, errors)
            await self.sock_connect(sock, address)
            return sock
        except BaseException as exc:
            if sock is not None:
                self._discard(sock)
            if isinstance(exc, OSError):
                errors.append(exc)
            raise
        finally:
            del errors


async def _first_of(attempts: Iterable[Coroutine[Any, Any, socket.socket]]) -> socket.socket | None:
    for attempt in attempts:
        try:
            return await attempt
        except OSError:
            continue
    return None


def _bind_to_one(
    sock: socket.socket, family: int, local: list[AddressInfo], errors: list[OSError]
) -> None:
    for local_family, _, _, _, address in local:
        if local_family != family:
            continue
        try:
            return sock.bind(address)
        except OSError as exc:
            message = f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
            errors.append(OSError(exc.errno, message))
    if errors:
        raise errors.pop()
    raise OSError(f"no matching local address with {family=} found")


def _combined(errors: Sequence[OSError], all_errors: bool) -> Exception:
    """All of them as a group, the one that they agree on, or one with all their messages."""
    if all_errors:
        return ExceptionGroup("create_connection failed", errors)
    messages = [str(error) for error in errors]
    if len(set(messages)) == 1:
        return errors[0]
    return OSError(f"Multiple exceptions: {', '.join(messages)}")


def interleaved(candidates: list[AddressInfo], first_family_count: int) -> list[AddressInfo]:
    """Take turns between families, after so many addresses of the first (RFC 8305, section 4)."""
    by_family: dict[int, list[AddressInfo]] = {}
    for candidate in candidates:
        by_family.setdefault(candidate[0], []).append(candidate)
    lead, *others = by_family.values()
    head = first_family_count - 1
    turns = itertools.zip_longest(lead[head:], *others)
    return lead[:head] + [
        candidate for turn in turns for candidate in turn if candidate is not None
    ]
