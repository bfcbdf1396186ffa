"""Work in threads: the default executor and run_in_executor.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Executing code in thread or process
pools".
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ._base import LoopBase, check_callback

_T = TypeVar("_T")


class Executors(LoopBase):
    _default_executor: concurrent.futures.ThreadPoolExecutor | None

    def __init__(self) -> None:
        super().__init__()
        self._default_executor = None
        self._executor_shutdown_called = False

    def run_in_executor(  # type: ignore[override]  # typeshed says TypeVarTuple, which Any suits no less
        self, executor: concurrent.futures.Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Call `func(*args)` in `executor` (None: the default one); return a future for its result.

        Raises RuntimeError if the loop is closed, or if the default executor has been shut down; in
        debug mode also TypeError for what cannot be called from a thread.
        """
        self._check_closed()
        if self.get_debug():
            check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._ensure_default_executor()
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Use `executor`, a ThreadPoolExecutor (else TypeError), where none is named."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the default executor's threads to end, `timeout` seconds at most (None: any).

        Where they have not by then, a RuntimeWarning is issued and they are left to themselves.
        run_in_executor() with the default executor raises RuntimeError from now on. Source: CPython
        3.12, which added the timeout.
        """
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        finished: asyncio.Future[None] = self.create_future()
        joiner = threading.Thread(target=self._join, args=(executor, finished))
        joiner.start()
        try:
            async with asyncio.timeout(timeout):
                await finished
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            joiner.join()

    def _ensure_default_executor(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")
        if self._default_executor is None:
            self._default_executor = concurrent.futures.ThreadPoolExecutor(
                thread_name_prefix="asyncio"
            )
        return self._default_executor

    def _join(self, executor: concurrent.futures.Executor, finished: asyncio.Future[None]) -> None:
        """Runs in a thread of its own, as joining blocks."""
        error: Exception | None = None
        try:
            executor.shutdown(wait=True)
        except Exception as exc:
            error = exc
        try:
            self.call_soon_threadsafe(_settle, finished, error)
        except RuntimeError:
            pass  # the loop was closed meanwhile, and nobody waits any more

    def _close_executor(self) -> None:
        self._executor_shutdown_called = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)


def _settle(finished: asyncio.Future[None], error: Exception | None) -> None:
    if finished.done():
        return
    if error is None:
        finished.set_result(None)
    else:
        finished.set_exception(error)
