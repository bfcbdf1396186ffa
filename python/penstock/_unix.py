"""create_unix_connection and create_unix_server.

A path is a str, bytes or os.PathLike; one that starts with a zero byte names a socket in Linux's
abstract name space, which no file stands for.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Opening network connections" and "Creating
network servers".
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, TypeVar

from ._base import check_tls_arguments
from ._server import Server, Serving
from ._tls import tls_of

_P = TypeVar("_P", bound=asyncio.BaseProtocol)
_Path = str | bytes

# asyncio removes a server's file from 3.13 on.
_CLEANS_UP = sys.version_info >= (3, 13)


class UnixSockets(Serving):
    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], _P],
        path: _Path | os.PathLike[Any] | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, _P]:
        """Connect to the server at `path`: the transport and the protocol, after connection_made().

        Instead of `path` a connected unix stream socket can be given: the transport takes it over.
        Raises OSError where the path can't be connected to. With `ssl` the connection is secured,
        as in create_connection(); `server_hostname` must be given then.
        """
        assert server_hostname is None or isinstance(server_hostname, str)
        if ssl and server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
        if server_hostname is not None and not ssl:
            raise ValueError("server_hostname is only meaningful with ssl")
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None and sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        if path is None:
            if sock is None:
                raise ValueError("no path and sock were specified")
            _check_unix(sock)
        tls = tls_of(ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)

        if sock is not None:
            return await self._make_connection(protocol_factory, sock, tls=tls)
        sock = await self._connect_to_path(path)
        return await self._make_connection(protocol_factory, sock, ours=True, tls=tls)

    async def create_unix_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: _Path | os.PathLike[Any] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = _CLEANS_UP,
    ) -> Server:
        """Listen at `path`, or on `sock`.

        A socket's file that is at `path` already is removed first: it is taken for what a server
        left behind that is gone. With `cleanup_socket`, which is the default from CPython 3.13 on,
        the file is removed when the server closes, unless it is another server's by then. Raises
        OSError where the path can't be bound. With `ssl`, an SSLContext, connections are secured,
        as in create_server().
        """
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None and sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        if path is None:
            if sock is None:
                raise ValueError("path was not specified, and no sock specified")
            _check_unix(sock)

        listening = _bind(os.fspath(path)) if path is not None else sock
        assert listening is not None
        file = None
        try:
            if cleanup_socket:
                file = SocketFile.of(listening)
            listening.setblocking(False)
        except BaseException:
            if listening is not sock:
                listening.close()
            raise
        server = Server(
            self,
            [listening],
            protocol_factory,
            backlog,
            tls=tls_of(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout),
            closed=file.remove if file else None,
        )
        if start_serving:
            try:
                await server.start_serving()
            except BaseException:
                server._close(keep_open=sock)
                raise
        return server

    async def _connect_to_path(self, path: Any) -> socket.socket:
        path = os.fspath(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await self.sock_connect(sock, path)
        except BaseException:
            self._discard(sock)
            raise
        return sock


class SocketFile:
    """The file of a listening socket."""

    def __init__(self, path: _Path, inode: int) -> None:
        self._path = path
        self._inode = inode

    @classmethod
    def of(cls, sock: socket.socket) -> SocketFile | None:
        """None for a socket without a file: abstract, unbound, or removed already."""
        path = sock.getsockname()
        if not path or _is_abstract(path):
            return None
        try:
            return cls(path, os.stat(path).st_ino)
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove it, unless another socket has the path by now."""
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            logger.error("Unable to clean up listening UNIX socket %r: %r", self._path, exc)


def _bind(path: _Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not _is_abstract(path):
            _remove_stale(path)
        sock.bind(path)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
            message = f"Address {path!r} is already in use"
            raise OSError(errno.EADDRINUSE, message) from None
        raise
    return sock


def _remove_stale(path: _Path) -> None:
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        # A directory may permit to create a socket and no more.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


def _is_abstract(path: _Path) -> bool:
    return path[0] in (0, "\x00")


def _check_unix(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
