"""Sockets of the caller's own: sock_recv and its siblings.

Each first tries the call, and waits only where it would block. A wait is separate from the call
that it is for: when a cancelled waiter wakes, nothing has been received, accepted or connected that
could get lost. The kernel's registration of the descriptor outlives the wait (the native loop keeps
it), so that a conversation does not pay for two system calls a message.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Working with socket objects directly".
"""

from __future__ import annotations

import socket
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, cast

from . import _core
from ._base import check_not_tls
from ._resolve import Resolving

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_WOULD_BLOCK = (BlockingIOError, InterruptedError)


@_core.adopt_sock_methods
class Sockets(Resolving):
    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive up to `nbytes` bytes; empty at the end of the stream.

        Raises OSError as socket.recv() does, TypeError for a TLS socket, and in debug mode
        ValueError for a socket that blocks; so do the methods below.
        """
        self._check_socket(sock)
        while True:
            try:
                return sock.recv(nbytes)
            except _WOULD_BLOCK:
                await self._readable(sock)

    async def sock_recv_into(self, sock: socket.socket, buf: WriteableBuffer) -> int:
        """Receive into `buf`, and return the number of bytes."""
        self._check_socket(sock)
        while True:
            try:
                return sock.recv_into(buf)
            except _WOULD_BLOCK:
                await self._readable(sock)

    async def sock_sendall(self, sock: socket.socket, data: ReadableBuffer) -> None:
        """Send all of `data`. After an exception there is no telling how much has left."""
        self._check_socket(sock)
        rest = data
        while True:
            try:
                sent = sock.send(rest)
            except _WOULD_BLOCK:
                sent = 0
            rest = memoryview(rest).cast("B")[sent:]
            if not rest:
                return
            await self._writable(sock)

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram, cut to `bufsize` bytes, and the address that it came from."""
        self._check_socket(sock)
        while True:
            try:
                return sock.recvfrom(bufsize)
            except _WOULD_BLOCK:
                await self._readable(sock)

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: WriteableBuffer, nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into `buf`, at most `nbytes` of it, or as much as fits for 0.

        Returns the number of bytes and the address that it came from.
        """
        self._check_socket(sock)
        if not nbytes:
            nbytes = len(cast(Sized, buf))
        while True:
            try:
                return sock.recvfrom_into(buf, nbytes)
            except _WOULD_BLOCK:
                await self._readable(sock)

    async def sock_sendto(self, sock: socket.socket, data: ReadableBuffer, address: Any) -> int:
        """Send a datagram to `address`, and return the number of bytes."""
        self._check_socket(sock)
        while True:
            try:
                return sock.sendto(data, address)
            except _WOULD_BLOCK:
                await self._writable(sock)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to `address`; a host name in it is resolved first."""
        self._check_socket(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            found = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto
            )
            address = found[0][4]
        try:
            return sock.connect(address)
        except _WOULD_BLOCK:
            # A unix socket connects at once or not at all: EAGAIN says that the listener's backlog
            # is full, and nothing that could be waited for that it no longer is.
            if sock.family == socket.AF_UNIX:
                raise
            # Interrupted by a signal, the connect goes on in the background all the same (POSIX
            # connect(), EINTR).
            await self._writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error != 0:
            raise OSError(error, f"Connect call failed {address}")

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection: its socket, set to non-blocking, and the peer's address."""
        self._check_socket(sock)
        while True:
            try:
                connection, address = sock.accept()
            except _WOULD_BLOCK:
                await self._readable(sock)
            else:
                connection.setblocking(False)
                return connection, address

    async def _readable(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        self._ensure_fd_no_transport(fd)
        await self._wait_readable(fd)

    async def _writable(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        self._ensure_fd_no_transport(fd)
        await self._wait_writable(fd)

    def _discard(self, sock: socket.socket) -> None:
        """Close a socket that this loop created and may have waited on."""
        if sock.fileno() != -1:
            self._forget_fd(sock.fileno())
            sock.close()

    def _check_socket(self, sock: socket.socket) -> None:
        check_not_tls(sock)
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
