"""What the families of loop methods stand on: the native loop, with asyncio's checks.

Each module beside this one holds one family as a class over `LoopBase`; `loop.Loop` puts them
together. Nothing of asyncio.AbstractEventLoop is left out.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from typing import Any

from . import _core

try:
    from ssl import SSLSocket
except ImportError:  # a CPython that was built without OpenSSL
    SSLSocket = None  # type: ignore[assignment,misc]


class LoopBase(_core.Loop, asyncio.AbstractEventLoop):
    # All that the families keep. The instance's dict stays empty, for CPython looks methods up
    # faster where there is none: `loop.call_soon` is the hottest attribute of all.
    __slots__ = (
        "_asyncgens",
        "_asyncgens_shutdown_called",
        "_default_executor",
        "_exception_handler",
        "_executor_shutdown_called",
        "_saved_origin_depth",
        "_signal_handlers",
        "_wakeup",
    )

    def _check_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    def _abandon(self, transport: asyncio.BaseTransport) -> None:
        """Close a transport whose maker does not get it.

        A loop that is closed has nobody to tell: the transport is closed as it goes, and says so.
        """
        if not self.is_closed():
            transport.close()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A timer of asyncio's own class, made by hand, says so; only ours are in the heap."""


def check_callback(callback: object, method: str) -> None:
    """Refuse what asyncio's debug mode refuses as a callback, naming the method it was given to."""
    if asyncio.iscoroutine(callback) or is_coroutine_function(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def is_coroutine_function(function: object) -> bool:
    # asyncio.iscoroutinefunction() is deprecated from 3.14 on; the mark is what it knew beyond
    # inspect's.
    if inspect.iscoroutinefunction(function):
        return True
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    return mark is not None and getattr(function, "_is_coroutine", None) is mark


def check_not_tls(sock: socket.socket) -> None:
    if SSLSocket is not None and isinstance(sock, SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


def check_stream(sock: socket.socket) -> None:
    # AF_UNIX streams pass on purpose: asyncio takes them too.
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def check_tls_arguments(
    ssl: Any, handshake_timeout: float | None, shutdown_timeout: float | None
) -> None:
    """The timeouts of TLS mean nothing without it: ValueError, as in asyncio."""
    if handshake_timeout is not None and not ssl:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if shutdown_timeout is not None and not ssl:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")
