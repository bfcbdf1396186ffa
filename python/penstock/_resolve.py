"""Names to addresses and back.

getaddrinfo(3) blocks, so it runs in threads: natively, in a bounded pool of its own, where slow DNS
holds up nothing but other look-ups. Two things are left to Python, both because programs count on
them: the audit event (PEP 578) of socket.getaddrinfo, and whatever has been put in the place of
socket.getaddrinfo (test libraries and proxies do that), which is then called in the default
executor, as asyncio would call it.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "DNS"; Doc/library/socket.rst for the
events.
"""

from __future__ import annotations

import socket
import sys
from asyncio.log import logger
from collections.abc import Callable
from operator import index
from typing import Any

from ._executor import Executors

# family, type, protocol, canonical name, address
AddressInfo = tuple[int, int, int, str, Any]


class Resolving(Executors):
    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """socket.getaddrinfo() that doesn't block; raises the same, mostly socket.gaierror."""
        if self.get_debug() or not _is_the_original(socket.getaddrinfo):
            resolve = self._getaddrinfo_debug if self.get_debug() else socket.getaddrinfo
            return await self.run_in_executor(None, resolve, host, port, family, type, proto, flags)
        self._check_closed()
        sys.audit("socket.getaddrinfo", host, port, index(family), index(type), index(proto))
        found = await self._resolve(_host(host), _service(port), family, type, proto, flags)
        return [
            (_known(socket.AddressFamily, af), _known(socket.SocketKind, kind), *rest)
            for af, kind, *rest in found
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """socket.getnameinfo() that doesn't block."""
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    async def _ensure_resolved(
        self, address: Any, *, family: int, type: int, proto: int, flags: int = 0
    ) -> list[AddressInfo]:
        host, port = address[:2]
        literal = _literal(host, port, family, type, proto, address[2:])
        if literal is not None:
            return [literal]
        return await self.getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    def _getaddrinfo_debug(
        self, host: Any, port: Any, family: int, type: int, proto: int, flags: int
    ) -> list[Any]:
        """In debug mode look-ups are logged with the time they took; this runs in a thread."""
        asked = [f"{host}:{port!r}"]
        for name, value in (("family", family), ("type", type), ("proto", proto), ("flags", flags)):
            if value:
                asked.append(f"{name}={value!r}")
        question = ", ".join(asked)
        logger.debug("Get address info %s", question)
        start = self.time()
        found = socket.getaddrinfo(host, port, family, type, proto, flags)
        took = self.time() - start
        log = logger.info if took >= self.slow_callback_duration else logger.debug
        log("Getting address info %s took %.3fms: %r", question, took * 1e3, found)
        return found


def _is_the_original(function: Callable[..., object]) -> bool:
    # What counts is where it was defined: it may have been replaced before we were imported.
    return (
        getattr(function, "__globals__", None) is vars(socket)
        and getattr(function, "__name__", None) == "getaddrinfo"
        and not hasattr(function, "__wrapped__")
    )


def _host(host: bytes | str | None) -> bytes | None:
    if host is None:
        return None
    if isinstance(host, str):
        return host.encode("idna")
    if isinstance(host, bytes | bytearray):
        return bytes(host)
    raise TypeError("getaddrinfo() argument 1 must be string or None")


def _service(port: bytes | str | int | None) -> bytes | None:
    if port is None:
        return None
    if isinstance(port, int):
        return str(int(port)).encode()
    if isinstance(port, str):
        return port.encode()
    if isinstance(port, bytes):
        return port
    raise OSError("Int or String expected")


def _known(kind: type[Any], value: int) -> int:
    try:
        known: int = kind(value)
    except ValueError:
        return value
    return known


def _literal(
    host: Any, port: Any, family: int, type: int, proto: int, rest: tuple[int, ...]
) -> AddressInfo | None:
    """What a numeric address and port mean, without asking anybody; None for everything else."""
    if host is None or proto not in (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    if type == socket.SOCK_STREAM:
        proto = socket.IPPROTO_TCP
    elif type == socket.SOCK_DGRAM:
        proto = socket.IPPROTO_UDP
    else:
        return None
    try:
        number = int(port or 0)
    except (TypeError, ValueError):
        return None  # the name of a service
    if isinstance(host, bytes):
        host = host.decode("idna")
    if "%" in host:
        return None  # a scope: getaddrinfo knows how to read it, inet_pton doesn't
    families = (socket.AF_INET, socket.AF_INET6) if family == socket.AF_UNSPEC else (family,)
    for candidate in families:
        try:
            socket.inet_pton(candidate, host)
        except OSError:
            continue
        if candidate != socket.AF_INET6:
            return candidate, type, proto, "", (host, number)
        flow, scope = (*rest, 0, 0)[:2]
        return candidate, type, proto, "", (host, number, flow, scope)
    return None
