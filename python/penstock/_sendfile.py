"""sendfile and sock_sendfile: a file goes out without passing through Python, where that can be.

os.sendfile(2) asks the kernel, and waits for the socket where it is full. What the kernel refuses
(a file that isn't a regular one, TLS) is read in the executor and written as any other bytes.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Transferring files".
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import socket
import sys
from asyncio import constants
from collections.abc import Awaitable, Callable
from typing import IO, Any

from ._base import check_not_tls
from ._sock import Sockets

# The most that a fallback holds of a file while the transport sends it: asyncio's figure.
_BLOCK_SIZE = 16 * 1024
# sendfile(2) is asked for this much where it stands at what was the end of the file: for all that
# we know the file has grown.
_LOOK_AHEAD = 64 * 1024


class SendingFiles(Sockets):
    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send `file` from `offset` on, `count` bytes or all, and return how many were sent.

        Afterwards, also after an exception, the file stands behind what was sent. Meanwhile
        nothing is received, and nothing else can be written: where the kernel sends, write() raises
        RuntimeError. Raises RuntimeError for a transport that closes or that can't send files,
        SendfileNotAvailableError or RuntimeError where the kernel can't and `fallback` is false,
        ConnectionError where the connection is lost on the way.
        """
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        unsupported = constants._SendfileMode.UNSUPPORTED
        mode = getattr(transport, "_sendfile_compatible", unsupported)
        if mode is unsupported:
            raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
        if mode is constants._SendfileMode.TRY_NATIVE:
            try:
                return await self._sendfile_native(transport, file, offset, count)
            except asyncio.SendfileNotAvailableError:
                if not fallback:
                    raise
        if not fallback:
            raise RuntimeError(
                "fallback is disabled and native sendfile is not "
                f"supported for transport {transport!r}"
            )
        return await self._sendfile_fallback(transport, file, offset, count)

    async def sock_sendfile(
        self,
        sock: socket.socket,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> int:
        """Send `file` over a stream socket of the caller's; see sendfile()."""
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        check_not_tls(sock)
        _check_arguments(sock, file, offset, count)
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
        return await self._sock_sendfile_fallback(sock, file, offset, count)

    async def _sendfile_native(
        self, transport: Any, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        async def writable() -> None:
            await transport._wait_writable()
            if transport.is_closing():  # since
                raise ConnectionError("Connection is closed by peer")

        leaves = _watcher(transport)
        transport._begin_sendfile()
        try:
            was_reading = transport.is_reading()
            transport.pause_reading()
            try:
                if transport.get_write_buffer_size() > 0:
                    await writable()
                sock = transport._sock
                _check_arguments(sock, file, offset, count)
                return await _send(sock, file, offset, count, writable, leaves)
            finally:
                leaves(None)
                if was_reading:
                    transport.resume_reading()
        finally:
            transport._end_sendfile()

    async def _sock_sendfile_native(
        self, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        return await _send(sock, file, offset, count, lambda: self._writable(sock))

    async def _sendfile_fallback(
        self, transport: Any, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        leaves = _watcher(transport)
        flow = _Flow(self, transport)
        try:

            async def write(piece: memoryview) -> None:
                await flow.drain()
                transport.write(piece)
                leaves(len(piece))

            return await self._copy(file, offset, count, _BLOCK_SIZE, write)
        finally:
            flow.restore()
            leaves(None)

    async def _sock_sendfile_fallback(
        self, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        async def write(piece: memoryview) -> None:
            await self.sock_sendall(sock, piece)

        block_size = constants.SENDFILE_FALLBACK_READBUFFER_SIZE
        return await self._copy(file, offset, count, block_size, write)

    async def _copy(
        self,
        file: Any,
        offset: int,
        count: int | None,
        block_size: int,
        write: Callable[[memoryview], Awaitable[None]],
    ) -> int:
        """Read piece by piece in the executor; `write` has done with a piece when it returns."""
        if offset or hasattr(file, "seek"):
            file.seek(offset)
        block = memoryview(bytearray(min(count, block_size) if count else block_size))
        sent = 0
        try:
            while not count or sent < count:
                piece = block[: count - sent] if count else block
                size = await self.run_in_executor(None, file.readinto, piece)
                if not size:
                    break
                await write(piece[:size])
                sent += size
            return sent
        finally:
            if sent > 0 and hasattr(file, "seek"):
                file.seek(offset + sent)


def _watcher(transport: asyncio.BaseTransport) -> Callable[[int | None], None]:
    """What a protocol of ours is told by how much of a file leaves past it; None: no more."""
    found: Any = getattr(transport.get_protocol(), "_file_leaves", None)
    return found if found is not None else lambda count: None


async def _send(
    sock: socket.socket,
    file: IO[bytes],
    offset: int,
    count: int | None,
    writable: Callable[[], Awaitable[None]],
    leaves: Callable[[int], None] = lambda count: None,
) -> int:
    """Let the kernel send; SendfileNotAvailableError where it refuses to from the beginning."""
    fd, size = _regular_file(file)
    sent = 0
    if not (count or size):
        return 0
    try:
        while not count or sent < count:
            wanted = count - sent if count else max(size - offset - sent, _LOOK_AHEAD)
            wanted = min(wanted, sys.maxsize // 2 + 1)  # a Py_ssize_t
            try:
                taken = os.sendfile(sock.fileno(), fd, offset + sent, wanted)
                if taken == 0:
                    break
            except (BlockingIOError, InterruptedError):
                taken = 0
            except OSError as exc:
                if sent == 0:
                    raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from exc
                if exc.errno == errno.ENOTCONN:
                    raise ConnectionError("socket is not connected", errno.ENOTCONN) from exc
                raise
            sent += taken
            leaves(taken)
            if taken < wanted:
                await writable()
        return sent
    finally:
        # What os.sendfile() refuses may be a pipe, which has no position.
        with contextlib.suppress(OSError):
            os.lseek(fd, offset + sent, os.SEEK_SET)


def _regular_file(file: IO[bytes]) -> tuple[int, int]:
    """Descriptor and size."""
    try:
        fd = file.fileno()
        return fd, os.fstat(fd).st_size
    except (AttributeError, io.UnsupportedOperation, OSError) as exc:
        raise asyncio.SendfileNotAvailableError("not a regular file") from exc


def _check_arguments(
    sock: socket.socket, file: IO[bytes], offset: object, count: object | None
) -> None:
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        message = f"count must be a positive integer (got {count!r})"
        if not isinstance(count, int):
            raise TypeError(message)
        if count <= 0:
            raise ValueError(message)
    message = f"offset must be a non-negative integer (got {offset!r})"
    if not isinstance(offset, int):
        raise TypeError(message)
    if offset < 0:
        raise ValueError(message)


class _Flow(asyncio.Protocol):
    """Stands in for a transport's protocol while a file is sent by writing, to obey flow control.

    Nothing is received meanwhile. pause_writing() and connection_lost() reach the protocol itself
    when it is back, or at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._was_reading = transport.is_reading()
        self._was_paused = bool(getattr(transport, "_protocol_paused", False))
        self._writable: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)
        if self._was_paused:
            self.pause_writing()

    async def drain(self) -> None:
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")
        if self._writable is not None:
            await self._writable

    def restore(self) -> None:
        self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()
        is_paused = self._writable is not None and not self._transport.is_closing()
        if self._was_paused and self._writable is None:
            self._protocol.resume_writing()
        elif is_paused and not self._was_paused:
            self._protocol.pause_writing()
        self._writable = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raise RuntimeError("Invalid state: connection should have been established already.")

    def connection_lost(self, exc: Exception | None) -> None:
        waiting = self._writable
        if waiting is not None and not waiting.done():
            waiting.set_exception(exc or ConnectionError("Connection is closed by peer"))
            waiting.exception()  # retrieved: nobody may be waiting, and drain() raises anyway
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> bool | None:
        # Reading is paused, but TLS that is shut down tells of it nevertheless, before the end.
        return None
