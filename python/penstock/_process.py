"""SubprocessTransport: a child process, the pipes to it, and the protocol that hears of them.

The protocol's calls wait until connection_made() has been called, which is once all pipes are
connected; connection_lost() comes when the process has ended and all pipes are closed.

Between the child's end and the call of process_exited() the child is a zombie that nobody has
reaped, so that its number can't mean another process when a signal is sent to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import warnings
from asyncio.log import logger
from collections.abc import Callable
from typing import Any


class SubprocessTransport(asyncio.SubprocessTransport):
    """A child process; asyncio's documentation of SubprocessTransport says what its methods do."""

    _closed = True  # until there is a process

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        stdio: tuple[Any, Any, Any],
        connected: asyncio.Future[None],
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        stdin, stdout, stderr = stdio
        process: subprocess.Popen[Any] = subprocess.Popen(
            args, stdin=stdin, stdout=stdout, stderr=stderr, **options
        )
        self._proc: subprocess.Popen[Any] | None = process
        self._closed = False
        self._loop: Any = loop
        self._protocol: Any = protocol
        self._pid = process.pid
        self._returncode: int | None = None
        self._extra: dict[str, Any] = {"subprocess": process}
        # One for each end that is ours; None as long as it isn't connected.
        self._pipes: dict[int, _Pipe | None] = {
            fd: None for fd, end in enumerate(stdio) if end == subprocess.PIPE
        }
        # What the protocol will be told; None once it is told directly.
        self._pending_calls: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = []
        self._exit_waiters: list[asyncio.Future[int]] = []
        if loop.get_debug():
            program = args if isinstance(args, (bytes, str)) else args[0]
            logger.debug("process %r created: pid %s", program, self._pid)
        try:
            loop.create_task(self._connect_pipes(connected))
        except BaseException:  # nobody will get to know of the process
            self._give_up_pipes()
            self.close()
            raise

    def __repr__(self) -> str:
        info = [type(self).__name__]
        if self._closed:
            info.append("closed")
        info.append(f"pid={self._pid}")
        has_ended = self._returncode is not None
        info.append(f"returncode={self._returncode}" if has_ended else "running")
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            pipe = self._pipes.get(fd)
            if pipe is not None:
                info.append(f"{name}={pipe.pipe}")
        return f"<{' '.join(info)}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not self._closed:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.close()

    def get_pid(self) -> int:
        return self._pid

    def get_returncode(self) -> int | None:
        return self._returncode

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        pipe = self._pipes.get(fd)
        return None if pipe is None else pipe.pipe

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def send_signal(self, signal: int) -> None:
        """Send a signal; ProcessLookupError after connection_lost()."""
        if self._proc is None:
            raise ProcessLookupError
        # Whoever has reaped it, the number may be another's already.
        if self._proc.returncode is None:
            try:
                os.kill(self._proc.pid, signal)
            except ProcessLookupError:
                pass

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Close the pipes, and kill the process if it runs."""
        if self._closed:
            return
        self._closed = True
        process, loop = self._proc, self._loop
        if process is None:
            return  # all is over
        # A loop that is closed has let go of its pipes, and they close themselves.
        if not loop.is_closed():
            for pipe in list(self._pipes.values()):
                if pipe is not None:
                    pipe.pipe.close()
        if process.returncode is not None or not _is_running(process.pid):
            return
        if loop.get_debug():
            logger.warning("Close running child process: kill %r", self)
        try:
            process.kill()
        except (ProcessLookupError, PermissionError):
            pass  # ended just now, or another user's by setuid

    async def _connect_pipes(self, connected: asyncio.Future[None]) -> None:
        process, loop = self._proc, self._loop
        assert process is not None
        try:
            if process.stdin is not None:
                await loop.connect_write_pipe(lambda: _Pipe(self, 0), process.stdin)
            if process.stdout is not None:
                await loop.connect_read_pipe(lambda: _ReadPipe(self, 1), process.stdout)
            if process.stderr is not None:
                await loop.connect_read_pipe(lambda: _ReadPipe(self, 2), process.stderr)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._give_up_pipes()
            if not connected.done():
                connected.set_exception(exc)
            return
        loop.call_soon(self._protocol.connection_made, self)
        pending, self._pending_calls = self._pending_calls, None
        for callback, args in pending or ():
            loop.call_soon(callback, *args)
        if not connected.done():
            connected.set_result(None)

    def _give_up_pipes(self) -> None:
        """Not all could be connected: close them, and tell the protocol nothing, ever."""
        self._pending_calls = None
        self._protocol = asyncio.SubprocessProtocol()
        assert self._proc is not None
        for fd, file in enumerate((self._proc.stdin, self._proc.stdout, self._proc.stderr)):
            pipe = self._pipes.get(fd)
            if pipe is not None:
                pipe.pipe.close()
            elif file is not None:
                del self._pipes[fd]
                file.close()
        self._finish_if_done()

    def _pipe_connected(self, fd: int, pipe: _Pipe) -> None:
        self._pipes[fd] = pipe
        if self._closed:
            pipe.pipe.close()

    def _pipe_data_received(self, fd: int, data: bytes) -> None:
        self._call(self._protocol.pipe_data_received, fd, data)

    def _pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._call(self._protocol.pipe_connection_lost, fd, exc)
        self._finish_if_done()

    def _process_exited(self, returncode: int) -> None:
        """The child has been reaped just now."""
        assert self._proc is not None and self._returncode is None
        if self._loop.get_debug():
            logger.info("%r exited with return code %r", self, returncode)
        self._returncode = returncode
        if self._proc.returncode is None:
            self._proc.returncode = returncode
        for waiter in self._exit_waiters:
            if not waiter.done():
                waiter.set_result(returncode)
        self._exit_waiters.clear()
        self._call(self._protocol.process_exited)
        self._finish_if_done()

    async def _wait(self) -> int:
        """The return code, once the process has ended: what Process.wait() awaits."""
        if self._returncode is not None:
            return self._returncode
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._exit_waiters.append(waiter)
        return await waiter

    def _finish_if_done(self) -> None:
        if self._returncode is None:
            return
        if all(pipe is not None and pipe.disconnected for pipe in self._pipes.values()):
            self._call(self._call_connection_lost)

    def _call_connection_lost(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._loop = self._proc = self._protocol = None

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        if self._pending_calls is not None:
            self._pending_calls.append((callback, args))
        else:
            self._loop.call_soon(callback, *args)


class _Pipe(asyncio.BaseProtocol):
    """The protocol of one pipe: passes on to the process's what it hears."""

    pipe: Any  # its transport

    def __init__(self, process: SubprocessTransport, fd: int) -> None:
        self._process = process
        self._fd = fd
        self.disconnected = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} pipe={getattr(self, 'pipe', None)!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipe = transport
        self._process._pipe_connected(self._fd, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnected = True
        self._process._pipe_connection_lost(self._fd, exc)

    def pause_writing(self) -> None:
        self._process._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._process._protocol.resume_writing()


class _ReadPipe(_Pipe, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self._process._pipe_data_received(self._fd, data)


def _is_running(pid: int) -> bool:
    """Whether our child `pid` has not ended yet. Whatever its status is, it can be asked for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
