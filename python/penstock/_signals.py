"""Signals: handlers that run as callbacks of the loop, and what lets a signal end its sleep.

The C-level handler of CPython only sets a flag and writes a byte to the wake-up descriptor
(signal.set_wakeup_fd); Python's handlers run later, between two bytecodes of the main thread.
Without that byte a signal that arrives just before the kernel puts the loop to sleep, or in another
thread, would wait for the next event. There is one such descriptor a process:

- during a run in the main thread it is ours, unless somebody else's is there already;
- while add_signal_handler() has handlers it is ours in any case, between runs too;
- afterwards whatever was there before is put back.

A handler is an ordinary Python signal handler that schedules its callback, so it is not lost where
somebody else takes the wake-up descriptor over, as it would be if the bytes in the descriptor were
what counts.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVarTuple

from ._base import LoopBase, is_coroutine_function

_Ts = TypeVarTuple("_Ts")
_Handler = tuple[Callable[..., object], tuple[Any, ...], contextvars.Context]


class Signals(LoopBase):
    _wakeup: _WakeupDescriptor | None

    def __init__(self) -> None:
        super().__init__()
        self._wakeup = None
        self._signal_handlers: dict[int, _Handler] = {}

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call `callback(*args)` on the loop whenever `sig` arrives; replaces an earlier handler.

        Raises TypeError for coroutines and for a `sig` that is no int, ValueError for a number that
        is no signal, RuntimeError for a signal that cannot be caught, for a closed loop, and
        outside the main thread.
        """
        if asyncio.iscoroutine(callback) or is_coroutine_function(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        if self._wakeup is None:
            self._wakeup = _WakeupDescriptor(self._signal_fd())
        try:
            self._wakeup.install()
        except (ValueError, OSError) as exc:
            # Above all: "set_wakeup_fd only works in main thread of the main interpreter".
            raise RuntimeError(str(exc)) from exc

        self._signal_handlers[sig] = (callback, args, contextvars.copy_context())
        try:
            signal.signal(sig, self._on_signal)
            # SA_RESTART: system calls of threads that know nothing of us are not to fail with
            # EINTR.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            del self._signal_handlers[sig]
            self._release_wakeup()
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Give `sig` its default action back; False if it had no handler here.

        Raises TypeError and ValueError as add_signal_handler() does, RuntimeError if the signal
        cannot be caught.
        """
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise
        self._release_wakeup()
        return True

    def _on_signal(self, sig: int, frame: FrameType | None) -> None:
        handler = self._signal_handlers.get(sig)
        if handler is not None and not self.is_closed():
            callback, args, context = handler
            self.call_soon_threadsafe(callback, *args, context=context)

    def _wake_on_signals(self) -> None:
        """A run begins."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._wakeup is None:
            self._wakeup = _WakeupDescriptor(self._signal_fd())
        self._wakeup.install_unless_taken()

    def _sleep_on_signals(self) -> None:
        """A run ends."""
        self._release_wakeup()

    def _close_signals(self) -> None:
        if sys.is_finalizing():
            if self._signal_handlers:
                warnings.warn(
                    f"Closing the loop {self!r} on interpreter shutdown stage, "
                    f"skipping signal handlers removal",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
                self._signal_handlers.clear()
        else:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)
        if self._wakeup is not None:
            self._wakeup.uninstall()
            self._wakeup = None

    def _release_wakeup(self) -> None:
        wakeup = self._wakeup
        if wakeup is None or self._signal_handlers:
            return
        if not self.is_running() or wakeup.is_in_anothers_place():
            wakeup.uninstall()


class _WakeupDescriptor:
    """The end of the loop's own socket pair at which signals write; the loop watches the other.

    `_displaced` is the descriptor that ours took the place of (-1: there was none); None while ours
    is not installed.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._displaced: int | None = None

    def install(self) -> None:
        global _in_place
        # A full buffer has woken the loop already: nothing to warn about.
        displaced = signal.set_wakeup_fd(self._fd, warn_on_full_buffer=False)
        if displaced != self._fd:
            self._displaced = displaced
        _in_place = self

    def install_unless_taken(self) -> None:
        try:
            self.install()
        except ValueError:
            return  # the main thread of a subinterpreter, where Python's signals do not arrive
        if self.is_in_anothers_place():
            self.uninstall()

    def uninstall(self) -> None:
        displaced, self._displaced = self._displaced, None
        if displaced is None:
            return
        for fd in (displaced, -1):  # the one that was there may have been closed since
            try:
                current = signal.set_wakeup_fd(fd)
            except (ValueError, OSError):
                continue
            if current not in (-1, self._fd):
                # Somebody has taken it over meanwhile: theirs stays.
                signal.set_wakeup_fd(current)
            return

    def forget_parent(self) -> None:
        """In a child of fork(): no signal wakes its parent's loop."""
        self._displaced = None
        try:
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._fd):
                signal.set_wakeup_fd(current)
        except ValueError:
            pass  # the child of a thread of a subinterpreter

    def is_in_anothers_place(self) -> bool:
        return self._displaced not in (None, -1)


# Whose descriptor the process was last given by us.
_in_place: _WakeupDescriptor | None = None


def _forget_parent() -> None:
    # From 3.12 on asyncio does so itself; before, the child's own loop would find the place taken.
    global _in_place
    if _in_place is not None:
        _in_place.forget_parent()
        _in_place = None


os.register_at_fork(after_in_child=_forget_parent)


def _check_signal(sig: int) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
