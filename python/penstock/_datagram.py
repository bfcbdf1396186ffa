"""create_datagram_endpoint: UDP and Unix datagram sockets.

Who closes a socket: until a transport exists, the code that created it; from then on the transport.
A socket that the caller brought is left to the caller until then.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Opening network connections".
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, TypeVar

from ._sock import Sockets

_P = TypeVar("_P", bound=asyncio.BaseProtocol)

# (family, protocol) -> [local address, remote address]
_Pairs = dict[tuple[int, int], list[Any]]


class Datagrams(Sockets):
    async def create_datagram_endpoint(  # type: ignore[override]  # typeshed's has reuse_address
        self,
        protocol_factory: Callable[[], _P],
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket.socket | None = None,
    ) -> tuple[asyncio.DatagramTransport, _P]:
        """Make a datagram endpoint: the transport and the protocol, after its connection_made().

        It is bound to `local_addr` and, unless `allow_broadcast` is set, connected to
        `remote_addr`: (host, port), or a path for AF_UNIX, where a socket file that is left of an
        earlier endpoint is removed first. Instead a datagram socket can be given: the transport
        takes it over. Raises OSError where no address can be bound or connected, ValueError for
        arguments that contradict each other.
        """
        remote: Any = None
        if sock is not None:
            _check_socket_is_alone(
                sock,
                {
                    "local_addr": local_addr,
                    "remote_addr": remote_addr,
                    "family": family,
                    "proto": proto,
                    "flags": flags,
                    "reuse_port": reuse_port,
                    "allow_broadcast": allow_broadcast,
                },
            )
            sock.setblocking(False)
            transport, protocol, waiter = self._make_endpoint(protocol_factory, sock, None)
        else:
            pairs = await self._address_pairs(local_addr, remote_addr, family, proto, flags)
            opened, remote = await self._open_endpoint(
                pairs, bool(local_addr), bool(remote_addr), reuse_port, allow_broadcast
            )
            try:
                transport, protocol, waiter = self._make_endpoint(protocol_factory, opened, remote)
            except BaseException:
                self._discard(opened)
                raise
        if self.get_debug():
            _log_created(local_addr, remote_addr, transport, protocol)
        try:
            await waiter
        except BaseException:
            self._abandon(transport)
            raise
        return transport, protocol

    def _make_endpoint(
        self, protocol_factory: Callable[[], _P], sock: socket.socket, remote: Any
    ) -> tuple[asyncio.DatagramTransport, _P, asyncio.Future[None]]:
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport = self._make_datagram_transport(sock, protocol, remote, waiter)
        return transport, protocol, waiter

    async def _address_pairs(
        self, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
    ) -> _Pairs:
        if not (local_addr or remote_addr):
            if family == 0:
                raise ValueError("unexpected address family")
            return {(family, proto): [None, None]}
        if family == socket.AF_UNIX:
            for address in (local_addr, remote_addr):
                if address is not None and not isinstance(address, str):
                    raise TypeError("string is expected")
            if local_addr and local_addr[0] != "\0":
                _remove_stale_socket(local_addr)
            return {(family, proto): [local_addr, remote_addr]}

        pairs: _Pairs = {}
        for index, address in enumerate((local_addr, remote_addr)):
            if address is None:
                continue
            if not (isinstance(address, tuple) and len(address) == 2):
                raise TypeError("2-tuple is expected")
            found = await self._ensure_resolved(
                address, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
            )
            if not found:
                raise OSError("getaddrinfo() returned empty list")
            for one_family, _, one_proto, _, resolved in found:
                pairs.setdefault((one_family, one_proto), [None, None])[index] = resolved
        # Both ends have to be of one family and protocol.
        matching = {
            key: (local, remote)
            for key, (local, remote) in pairs.items()
            if not ((local_addr and local is None) or (remote_addr and remote is None))
        }
        if not matching:
            raise ValueError("can not get address information")
        return {key: list(pair) for key, pair in matching.items()}

    async def _open_endpoint(
        self,
        pairs: _Pairs,
        binds: bool,
        connects: bool,
        reuse_port: bool | None,
        allow_broadcast: bool | None,
    ) -> tuple[socket.socket, Any]:
        """A socket of the first pair that works, and the only address it is to send to, or None."""
        errors: list[OSError] = []
        for (family, proto), (local, remote) in pairs.items():
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_DGRAM, proto)
                if reuse_port:
                    _set_reuse_port(sock)
                if allow_broadcast:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setblocking(False)
                if binds:
                    sock.bind(local)
                if connects and not allow_broadcast:
                    await self.sock_connect(sock, remote)
                return sock, remote if connects else None
            except BaseException as exc:
                if sock is not None:
                    self._discard(sock)
                if not isinstance(exc, OSError):
                    raise
                errors.append(exc)
        try:
            raise errors[0]
        finally:
            errors.clear()  # an exception's traceback holds this frame


def _check_socket_is_alone(sock: socket.socket, others: dict[str, Any]) -> None:
    if sys.version_info >= (3, 13):
        if sock.type == socket.SOCK_STREAM:
            raise ValueError(f"A datagram socket was expected, got {sock!r}")
    elif sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"A UDP Socket was expected, got {sock!r}")
    given = ", ".join(f"{name}={value}" for name, value in others.items() if value)
    if given:
        raise ValueError(
            f"socket modifier keyword arguments can not be used when sock is specified. ({given})"
        )


def _remove_stale_socket(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        # A directory in which sockets may be made, but not removed: bind() will tell.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


def _set_reuse_port(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        raise ValueError(
            "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented."
        ) from None


def _log_created(local_addr: Any, remote_addr: Any, transport: object, protocol: object) -> None:
    if local_addr:
        logger.info(
            "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
            local_addr,
            remote_addr,
            transport,
            protocol,
        )
    else:
        logger.debug(
            "Datagram endpoint remote_addr=%r created: (%r, %r)", remote_addr, transport, protocol
        )
