"""create_server and the Server that it returns.

Accepting is native (`_listen`, `_unlisten`); here are the addresses, the socket options, and who is
served until when.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Creating network servers" and "Server
Objects".
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
import sys
import weakref
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from ._base import check_not_tls, check_stream, check_tls_arguments
from ._connect import Connecting
from ._resolve import AddressInfo
from ._tls import Tls, tls_of

if TYPE_CHECKING:
    import ssl

    from .loop import Loop

_ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Serving(Connecting):
    async def create_server(
        self,
        protocol_factory: _ProtocolFactory,
        host: str | bytes | Iterable[str | bytes | None] | None = None,
        port: int | str | bytes | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on every address of `host`, or on `sock`.

        `host` may name several; "" and None mean all interfaces. SO_REUSEADDR is set unless
        `reuse_address` is False; IPv6 sockets don't take IPv4. Without `start_serving` the server
        accepts nothing before its start_serving() or serve_forever(). Raises OSError where an
        address can't be bound. On failure and when cancelled, every socket that was created here is
        closed again.

        With `ssl`, an SSLContext, connections are secured: connection_made() follows the handshake.
        One that fails or takes longer than `ssl_handshake_timeout` seconds is reported in debug
        mode only.
        """
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_not_tls(sock)
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
        elif sock is None:
            raise ValueError("Neither host/port nor sock were specified")
        else:
            check_stream(sock)

        if sock is not None:
            sockets = [sock]
        else:
            addresses = await self._resolve_hosts(host, port, family, flags)
            options = (
                [(socket.SOL_SOCKET, socket.SO_REUSEADDR)] if reuse_address in (None, True) else []
            )
            if reuse_port:
                options.append((socket.SOL_SOCKET, socket.SO_REUSEPORT))
            if keep_alive:
                options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            sockets = self._bind_all(addresses, options)
        for listening in sockets:
            listening.setblocking(False)

        tls = tls_of(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout)
        server = Server(self, sockets, protocol_factory, backlog, tls)
        if start_serving:
            try:
                await server.start_serving()
            except BaseException:
                server._close(keep_open=sock)
                raise
        if self.get_debug():
            logger.info("%r is serving", server)
        return server

    async def _resolve_hosts(
        self, host: Any, port: Any, family: int, flags: int
    ) -> list[AddressInfo]:
        hosts: Iterable[Any]
        if host == "":
            hosts = [None]
        elif isinstance(host, str | bytes) or not isinstance(host, Iterable):
            hosts = [host]
        else:
            hosts = host
        found = await asyncio.gather(
            *[self._resolve_host(one, port, family, flags) for one in hosts]
        )
        # Names may share addresses: each is bound once.
        return list(dict.fromkeys(info for infos in found for info in infos))

    async def _resolve_host(
        self, host: Any, port: Any, family: int, flags: int
    ) -> list[AddressInfo]:
        infos = await self._ensure_resolved(
            (host, port), family=family, type=socket.SOCK_STREAM, proto=0, flags=flags
        )
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        return infos

    def _bind_all(
        self, addresses: Sequence[AddressInfo], options: Sequence[tuple[int, int]]
    ) -> list[socket.socket]:
        sockets: list[socket.socket] = []
        try:
            for family, kind, proto, _, address in addresses:
                try:
                    sock = socket.socket(family, kind, proto)
                except OSError:
                    # A family that the kernel doesn't have, such as IPv6 where that is switched
                    # off.
                    if self.get_debug():
                        logger.warning(
                            "create_server() failed to create socket.socket(%r, %r, %r)",
                            family,
                            kind,
                            proto,
                            exc_info=True,
                        )
                    continue
                sockets.append(sock)
                if not self._bind(sock, address, options):
                    sockets.pop().close()
            if not sockets:
                tried = [info[4] for info in addresses]
                raise OSError(f"could not bind on any address out of {tried!r}")
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    def _bind(self, sock: socket.socket, address: Any, options: Sequence[tuple[int, int]]) -> bool:
        """False where the address doesn't exist on this machine, though its family does."""
        for level, option in options:
            sock.setsockopt(level, option, 1)
        if sock.family == socket.AF_INET6:
            # Linux serves both families on one socket by default, and the IPv4 socket beside it
            # could not be bound.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(address)
        except OSError as exc:
            reason = str(exc).lower()
            message = f"error while attempting to bind on address {address!r}: {reason}"
            if exc.errno == errno.EADDRNOTAVAIL:
                if self.get_debug():
                    logger.warning(message)
                return False
            raise OSError(exc.errno, message) from None
        return True


class Server(asyncio.Server):
    """Listening sockets and the connections that came in through them.

    Nothing is left of its base, which it has for isinstance() only.

    `async with server` closes it at the end and waits for its connections. Made by
    Loop.create_server() and create_unix_server() only; `closed` is called once it is closed.
    """

    def __init__(
        self,
        loop: Loop | Serving,
        sockets: list[socket.socket],
        protocol_factory: _ProtocolFactory,
        backlog: int,
        tls: Tls | None = None,
        closed: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets  # None: closed
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._closed = closed
        self._context = contextvars.copy_context()
        self._tls = tls and (tls.context, tls.handshake_timeout, tls.shutdown_timeout)
        self._serving = False
        self._forever: asyncio.Future[None] | None = None
        self._waiters: (
            list[asyncio.Future[None]] | None
        ) = []  # None: closed, and everybody has left
        # Ours are counted: they report their end, however it comes, and the loop finds them.
        self._counted_clients = 0
        # Of others weak references, so that one which is simply dropped is still found out; each
        # reports its end, so that wait_closed() doesn't wait for the dead.
        self._clients: set[weakref.ref[asyncio.Transport]] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:  # type: ignore[override]  # they are, there
        """The listening sockets; empty once the server is closed."""
        return tuple(TransportSocket(sock) for sock in self._sockets or ())

    def get_loop(self) -> Loop:
        """The loop that the server runs on."""
        return self._loop  # type: ignore[return-value]

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Start to accept connections; does nothing if it does so already."""
        self._start_serving()
        # One turn, so that the listening sockets are watched by the time we return.
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled: the server is closed then and its clients waited for.

        From CPython 3.14 on the clients are closed as well, as asyncio does there.

        Raises RuntimeError if the server is closed, or if somebody awaits this already.
        """
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                if sys.version_info >= (3, 14):
                    self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def _secure_with(self, context: ssl.SSLContext) -> None:
        """Give connections that are accepted from now on that context; none is lost meanwhile."""
        assert self._tls is not None
        self._tls = (context, *self._tls[1:])
        if self._serving:
            for sock in self._sockets or ():
                self._loop._unlisten(sock)
            self._serving = False
            self._start_serving()

    def close(self) -> None:
        """Close the listening sockets; connections stay, and serve_forever() is cancelled."""
        self._close()

    def close_clients(self) -> None:
        """Close every connection once its buffered data are sent. Source: CPython 3.13."""
        for transport in self._transports():
            transport.close()

    def abort_clients(self) -> None:
        """Close every connection at once, losing buffered data. Source: CPython 3.13."""
        for transport in self._transports():
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is, in whichever order.

        Source: CPython 3.12.1; versions before that return too early, and so does ours never.
        """
        if self._waiters is None:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _start_serving(self) -> None:
        if self._serving:
            return
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            # What connections start from: the context of whoever starts to serve, as asyncio's,
            # from CPython 3.15 on that of whoever made the server.
            newest = sys.version_info >= (3, 15)
            context = self._context if newest else contextvars.copy_context()
            listen = self._loop._listen
            context.run(listen, sock, self._protocol_factory, self, self._backlog, self._tls)

    def _close(self, keep_open: socket.socket | None = None) -> None:
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        self._serving = False
        for sock in sockets:
            # The loop lets go of the descriptor before its number can mean something else.
            self._loop._unlisten(sock)
            if sock is not keep_open:
                sock.close()
        if self._closed is not None:
            self._closed()
        if self._forever is not None:
            self._forever.cancel()
            self._forever = None
        self._wake_if_over()

    # The transports call these: once when they are made, once after connection_lost().

    def _attach(self, transport: asyncio.Transport | None = None) -> None:
        if transport is None or isinstance(transport, _core.SocketTransport):
            self._counted_clients += 1
        else:
            self._clients.add(weakref.ref(transport, self._lose))

    def _detach(self, transport: asyncio.Transport | None = None) -> None:
        if transport is None or isinstance(transport, _core.SocketTransport):
            self._counted_clients -= 1
            self._wake_if_over()
        else:
            self._lose(weakref.ref(transport))

    def _lose(self, client: weakref.ref[asyncio.Transport]) -> None:
        self._clients.discard(client)
        self._wake_if_over()

    def _transports(self) -> list[asyncio.Transport]:
        others = [transport for client in self._clients if (transport := client()) is not None]
        return self._loop._transports_of(self) + others

    def _wake_if_over(self) -> None:
        if self._sockets is not None or self._clients or self._counted_clients:
            return
        waiters, self._waiters = self._waiters, None
        if self._loop.is_closed():
            return  # nobody is left to be woken
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
