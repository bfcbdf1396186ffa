"""Running, stopping and closing; the hooks that live as long as a run does.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Running and stopping the loop"; PEP 525
for the hooks.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from asyncio import constants
from asyncio.log import logger
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from typing import Any, TypeVar
from weakref import WeakSet

from ._base import LoopBase
from ._executor import Executors
from ._signals import Signals

_T = TypeVar("_T")

# Frames that a coroutine remembers of its creation while the loop is in debug mode: asyncio's
# figure.
ORIGIN_DEPTH = constants.DEBUG_STACK_DEPTH


class Running(Signals, Executors, LoopBase):
    _saved_origin_depth: int | None  # while we track origins: the depth to go back to

    def __init__(self) -> None:
        super().__init__()
        self._asyncgens_shutdown_called = False
        self._saved_origin_depth = None
        self._asyncgens: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} "
            f"closed={self.is_closed()} debug={self.get_debug()}>"
        )

    def run_forever(self) -> None:
        """Run until stop() is called.

        Raises RuntimeError if the loop is closed, runs already, or another loop runs in this
        thread. KeyboardInterrupt and SystemExit raised by a callback or a signal handler end the
        run and come out of it.
        """
        self._check_closed()
        self._check_not_running()
        hooks = sys.get_asyncgen_hooks()
        try:
            self._track_coroutine_origins(self.get_debug())
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook
            )
            self._wake_on_signals()
            asyncio._set_running_loop(self)
            self._run()
        finally:
            asyncio._set_running_loop(None)
            self._sleep_on_signals()
            self._track_coroutine_origins(False)
            sys.set_asyncgen_hooks(*hooks)

    def run_until_complete(self, future: Generator[Any, None, _T] | Awaitable[_T]) -> _T:
        """Run until `future` is done, and return its result or raise its exception.

        A coroutine is wrapped in a task. Raises RuntimeError as run_forever() does, and where
        stop() ended the run before the future was done.
        """
        self._check_closed()
        self._check_not_running()
        ours = not asyncio.isfuture(future)
        awaited: asyncio.Future[_T] = asyncio.ensure_future(
            future,  # type: ignore[arg-type]  # typeshed: no generators
            loop=self,
        )
        if ours:
            # Nobody else holds this task: if the run is stopped early we say so ourselves, below.
            awaited._log_destroy_pending = False  # type: ignore[attr-defined]
        awaited.add_done_callback(_stop_its_loop)
        try:
            self.run_forever()
        except BaseException:
            if ours and awaited.done() and not awaited.cancelled():
                # It is this very exception that came out of the run: mark it as retrieved.
                awaited.exception()
            raise
        finally:
            awaited.remove_done_callback(_stop_its_loop)
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return awaited.result()

    def close(self) -> None:
        """Drop all that is scheduled, free the loop's descriptors; a second call does nothing.

        The default executor is told to shut down and not waited for. Raises RuntimeError while the
        loop runs.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self.get_debug():
            logger.debug("Close %r", self)
        self._close_signals()
        self._close()
        self._close_executor()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not self.is_closed():
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self.close()

    def set_debug(self, enabled: bool) -> None:
        """Switch debug mode; coroutines made from the next turn on know where they were made."""
        super().set_debug(enabled)
        if self.is_running():
            # The depth is kept per thread, and this may be any thread.
            self.call_soon_threadsafe(self._track_coroutine_origins, enabled)

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that were started on this loop and are still alive.

        An exception from one of them goes to the exception handler and keeps the others from
        nothing. A generator first iterated after this call warns with ResourceWarning.
        """
        self._asyncgens_shutdown_called = True
        alive = list(self._asyncgens)
        if not alive:
            return
        self._asyncgens.clear()
        outcomes = await asyncio.gather(*[agen.aclose() for agen in alive], return_exceptions=True)
        for agen, outcome in zip(alive, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.call_exception_handler(
                    {
                        "message": "an error occurred during closing of "
                        f"asynchronous generator {agen!r}",
                        "exception": outcome,
                        "asyncgen": agen,
                    }
                )

    def _check_not_running(self) -> None:
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after "
                "loop.shutdown_asyncgens() call",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        self._asyncgens.add(agen)

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        # The garbage collector calls this, in whatever thread it happens to run.
        self._asyncgens.discard(agen)
        if not self.is_closed():
            closing: Coroutine[Any, Any, None] = agen.aclose()
            self.call_soon_threadsafe(self.create_task, closing)

    def _track_coroutine_origins(self, enabled: bool) -> None:
        if bool(enabled) == (self._saved_origin_depth is not None):
            return
        if enabled:
            self._saved_origin_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)
        elif self._saved_origin_depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._saved_origin_depth)
            self._saved_origin_depth = None


def _stop_its_loop(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        # These have ended the run already; a stop now would end the next one at once.
        return
    future.get_loop().stop()
