"""subprocess_exec and subprocess_shell: starting a child, and learning of its end.

subprocess.Popen starts it. Its end is what the loop hears of by a pidfd, or, where the kernel
gives none, from a thread that waits; either way it is reaped here, on the loop's thread, and no
other child is. A child watcher that the program has set (below 3.14) is respected.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Running Subprocesses".
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from asyncio.log import logger
from collections.abc import Callable
from subprocess import PIPE, STDOUT
from typing import Any, TypeVar

from ._base import LoopBase
from ._child_watcher import program_watcher
from ._process import SubprocessTransport

_P = TypeVar("_P", bound=asyncio.SubprocessProtocol)


class Subprocesses(LoopBase):
    async def subprocess_exec(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], _P],
        program: Any,
        *args: Any,
        stdin: Any = PIPE,
        stdout: Any = PIPE,
        stderr: Any = PIPE,
        universal_newlines: bool = False,
        shell: bool = False,
        bufsize: int = 0,
        encoding: None = None,
        errors: None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, _P]:
        """Start `program` with `args`: the transport and the protocol, after connection_made().

        `kwargs` are those of subprocess.Popen, whose exceptions come out of here. Pipes carry
        bytes, unbuffered: ValueError for what asks for anything else. A call that is cancelled
        kills the child and waits for its end.
        """
        _check(universal_newlines, "universal_newlines must be False")
        _check(shell, "shell must be False")
        _check_bytes(bufsize, text, encoding, errors)
        protocol = protocol_factory()
        what = f"execute program {program!r}"
        transport = await self._spawn(
            protocol, (program, *args), (stdin, stdout, stderr), kwargs, what
        )
        return transport, protocol

    async def subprocess_shell(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], _P],
        cmd: bytes | str,
        *,
        stdin: Any = PIPE,
        stdout: Any = PIPE,
        stderr: Any = PIPE,
        universal_newlines: bool = False,
        shell: bool = True,
        bufsize: int = 0,
        encoding: None = None,
        errors: None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, _P]:
        """Have the shell run `cmd`; see subprocess_exec()."""
        if not isinstance(cmd, (bytes, str)):
            raise ValueError("cmd must be a string")
        _check(universal_newlines, "universal_newlines must be False")
        _check(not shell, "shell must be True")
        _check_bytes(bufsize, text, encoding, errors)
        protocol = protocol_factory()
        what = f"run shell command {cmd!r}"
        kwargs["shell"] = True
        transport = await self._spawn(protocol, cmd, (stdin, stdout, stderr), kwargs, what)
        return transport, protocol

    async def _spawn(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        stdio: tuple[Any, Any, Any],
        options: dict[str, Any],
        what: str,
    ) -> SubprocessTransport:
        is_debug = self.get_debug()
        if is_debug:
            logger.debug("%s", " ".join([what, *_described(*stdio)]))
        with program_watcher() as watcher:
            connected: asyncio.Future[None] = self.create_future()
            options["bufsize"] = 0
            transport = SubprocessTransport(self, protocol, args, stdio, connected, options)
            try:
                if watcher is None:
                    self._await_exit(transport)
                else:
                    watcher.add_child_handler(
                        transport.get_pid(), self._child_watcher_callback, transport
                    )
            except BaseException:
                transport.close()
                raise
            try:
                await connected
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
        if is_debug:
            logger.info("%s: %r", what, transport)
        return transport

    def _await_exit(self, transport: SubprocessTransport) -> None:
        pid = transport.get_pid()
        try:
            self._watch_child(pid, _reap, transport)
        except OSError:
            # Before Linux 5.3, under a seccomp filter, or out of descriptors.
            context = contextvars.copy_context()
            threading.Thread(
                target=_wait_in_thread,
                name=f"asyncio-waitpid-{pid}",
                args=(self, transport, context),
                daemon=True,
            ).start()

    def _child_watcher_callback(
        self, pid: int, returncode: int, transport: SubprocessTransport
    ) -> None:
        self.call_soon_threadsafe(transport._process_exited, returncode)


def _wait_in_thread(
    loop: LoopBase, transport: SubprocessTransport, context: contextvars.Context
) -> None:
    """Waits, but leaves the zombie to the loop's thread, which may be sending it a signal."""
    pid = transport.get_pid()
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        pass  # reaped by somebody else: _reap() says so
    try:
        # A turn later: what other threads hand to the loop is ready before what the kernel brings,
        # and the child wrote before it ended.
        loop.call_soon_threadsafe(loop.call_soon, _reap, transport, context=context)
    except RuntimeError:
        logger.warning("Loop %r that handles pid %r is closed", loop, pid)


def _reap(transport: SubprocessTransport) -> None:
    pid = transport.get_pid()
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        returncode = 255
        logger.warning(
            "child process pid %d exit status already read:  will report returncode 255", pid
        )
    else:
        try:
            returncode = os.waitstatus_to_exitcode(status)
        except ValueError:
            returncode = status  # neither an exit nor a signal: better than nothing
    transport._process_exited(returncode)


def _check(is_wrong: object, message: str) -> None:
    if is_wrong:
        raise ValueError(message)


def _check_bytes(bufsize: int, text: bool | None, encoding: object, errors: object) -> None:
    _check(bufsize != 0, "bufsize must be 0")
    _check(text, "text must be False")
    _check(encoding is not None, "encoding must be None")
    _check(errors is not None, "errors must be None")


def _described(stdin: Any, stdout: Any, stderr: Any) -> list[str]:
    ends = [("stdin", stdin)]
    if stdout is not None and stderr == STDOUT:
        ends.append(("stdout=stderr", stdout))
    else:
        ends += [("stdout", stdout), ("stderr", stderr)]
    names = {PIPE: "<pipe>", STDOUT: "<stdout>"}
    return [
        f"{name}={names[end] if end in (PIPE, STDOUT) else repr(end)}"
        for name, end in ends
        if end is not None
    ]
