"""TLS: what the families of methods that take `ssl=` share, and start_tls.

The transports are native (`_core.SSLTransport`): the certificates, the handshake's rules and what
fails in it are those of Python's ssl module, whose SSLObject does the work.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "TLS Upgrade".
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _core
from ._base import LoopBase

try:
    import ssl
except ImportError:  # a CPython that was built without OpenSSL
    ssl = None  # type: ignore[assignment]


class Tls(NamedTuple):
    """How a connection is to be secured; timeouts in seconds, None for asyncio's defaults."""

    context: Any  # ssl.SSLContext; None: a client's default one
    server_hostname: str | None
    handshake_timeout: float | None
    shutdown_timeout: float | None


def tls_of(
    context: Any,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> Tls | None:
    """What the `ssl` argument and its companions ask for; None without `ssl`."""
    if not context:
        return None
    if isinstance(context, bool):
        context = None
    return Tls(context, server_hostname, handshake_timeout, shutdown_timeout)


class _Upgrade(NamedTuple):
    """What start_tls puts onto a transport."""

    protocol: Any  # the transport's from now on
    begin: Callable[[asyncio.BaseTransport], object]
    feed: Callable[[bytes], object]


class Securing(LoopBase):
    def _make_tls_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None],
        tls: Tls,
        server_side: bool,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.Transport:
        """A TLS transport over `sock`, which it takes over; the waiter knows of the handshake.

        `extra` is what get_extra_info() tells of the socket, where the socket is not to be asked.
        """
        transport = self._make_tls(
            protocol,
            tls.context,
            waiter,
            server_side,
            tls.server_hostname,
            tls.handshake_timeout,
            tls.shutdown_timeout,
            True,
        )
        try:
            self._make_transport(sock, transport, None, extra)
        except BaseException:
            transport.close()
            raise
        return transport

    async def start_tls(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None:
        """Secure a connection that stands: the transport to use from now on.

        `transport`, which may be a TLS transport itself, must not be used any more. What a
        StreamReader has received and nobody has read is taken for the peer's first TLS data.
        Raises TypeError where `sslcontext` is no SSLContext or the transport can't be upgraded,
        ssl.SSLError where the handshake fails, ConnectionAbortedError where it takes longer than
        `ssl_handshake_timeout` seconds; the transport is closed then. None where the connection
        was closed in good order before it was secured.
        """
        if ssl is None:
            raise RuntimeError("Python ssl module is not available")
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(
                f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
            )
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter: asyncio.Future[None] = self.create_future()
        upgrade = self._upgrade(
            transport,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            False,
        )
        lower: Any = transport
        # Nothing is to be received before the handshake has begun.
        lower.pause_reading()
        lower.set_protocol(upgrade.protocol)
        buffer = getattr(getattr(protocol, "_stream_reader", None), "_buffer", None)
        if buffer:
            upgrade.feed(bytes(buffer))
            buffer.clear()
        beginning = self.call_soon(upgrade.begin, transport)
        resuming = self.call_soon(lower.resume_reading)
        try:
            await waiter
        except BaseException:
            self._abandon(transport)
            beginning.cancel()
            resuming.cancel()
            raise
        finally:
            del waiter  # its exception's traceback holds this frame
        secured: asyncio.Transport | None = upgrade.protocol._app_transport
        return secured

    def _upgrade(self, transport: asyncio.WriteTransport, *arguments: Any) -> _Upgrade:
        if type(transport) in (_core.SocketTransport, _core.SSLTransport):
            upper = self._make_tls(*arguments)
            return _Upgrade(upper, upper._begin, upper._feed)
        from asyncio import sslproto

        # Its arguments are those of _make_tls(), in another order.
        *others, handshake_timeout, shutdown_timeout, calls_connection_made = arguments
        make: Any = sslproto.SSLProtocol
        stock = make(self, *others, calls_connection_made, handshake_timeout, shutdown_timeout)
        return _Upgrade(stock, stock.connection_made, stock._incoming.write)
