"""The lifespan protocol: the application is told that the server starts, and that it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .config import ServerError

log = logging.getLogger("penstock.server")


class Lifespan:
    """One application's. `state` is what each request's scope gets a copy of, or None."""

    def __init__(self, app: Any, mode: str) -> None:
        self.state: dict[str, Any] | None = None if mode == "off" else {}
        self._app = app
        self._mode = mode
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Raises ServerError where the application has failed to start."""
        if self._mode == "off":
            return
        self._task = asyncio.get_running_loop().create_task(self._run(), name="penstock-lifespan")
        answer = await self._ask("lifespan.startup")
        if answer is None:
            self._give_up()
        elif answer["type"] == "lifespan.startup.failed":
            raise ServerError(
                f"the application failed to start. {answer.get('message', '')}".strip()
            )

    async def shutdown(self) -> bool:
        """Whether the application has ended well."""
        if self._task is None or self._task.done():
            return True
        answer = await self._ask("lifespan.shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            log.error("The application failed to shut down. %s", answer.get("message", ""))
            return False
        if not self._task.done():
            await asyncio.wait([self._task])
        if self._task.cancelled() or self._task.exception() is not None:
            log.error("Exception in the application's lifespan", exc_info=self._failure())
            return False
        return True

    def _give_up(self) -> None:
        """The application has ended without an answer: it may know nothing of lifespans."""
        error = self._failure()
        if self._mode == "on":
            raise ServerError(f"the application failed to start: {error!r}") from error
        log.debug("The application knows no lifespan: %r", error)
        self.state = None

    def _failure(self) -> BaseException | None:
        if self._task is None or self._task.cancelled():
            return None
        return self._task.exception()

    async def _ask(self, kind: str) -> dict[str, Any] | None:
        assert self._task is not None
        self._events.put_nowait({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._events.get, self._send)

    async def _send(self, message: dict[str, Any]) -> None:
        phases = ("lifespan.startup", "lifespan.shutdown")
        if message["type"] not in [f"{p}.{end}" for p in phases for end in ("complete", "failed")]:
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}' sent in a lifespan")
        self._answers.put_nowait(message)
