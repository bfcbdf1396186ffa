"""The event loop: the native one, and around it the families of methods that aren't hot."""

from __future__ import annotations

import asyncio

from . import _core
from ._datagram import Datagrams
from ._errors import Errors
from ._pipes import Pipes
from ._running import Running
from ._sendfile import SendingFiles
from ._subprocess import Subprocesses
from ._unix import UnixSockets


@_core.adopt_hot_methods
class Loop(Running, Errors, UnixSockets, Datagrams, Pipes, SendingFiles, Subprocesses):  # pyright: ignore[reportIncompatibleMethodOverride]
    """asyncio's event loop, natively. asyncio.Runner takes it as `loop_factory`.

    Debug mode is on from the start where asyncio's would be: PYTHONASYNCIODEBUG, `python -X dev`.
    """

    def __init__(self) -> None:
        super().__init__()
        if _debug_is_asked_for():
            self.set_debug(True)


def new_event_loop() -> Loop:
    """A new event loop, which is nobody's current one; close() is the caller's to call.

    Raises OSError where the kernel gives it no epoll, or no descriptors are left; ValueError where
    PENSTOCK_BACKEND names no backend.
    """
    return Loop()


def _debug_is_asked_for() -> bool:
    # Asked of asyncio, by the name under which tests replace it.
    return bool(vars(asyncio.coroutines)["_is_debug_mode"]())
