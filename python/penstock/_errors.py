"""What happens to exceptions that nobody can be handed: the exception handler API.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Error handling API".
"""

from __future__ import annotations

import contextvars
import logging
import traceback
from asyncio import base_events
from collections.abc import Callable
from typing import Any

from ._base import LoopBase

_Report = dict[str, Any]
_ExceptionHandler = Callable[[Any, _Report], object]

# Keys of a report that hold a stack, and what introduces it in the log.
_STACKS = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}


def _stock_logger() -> logging.Logger:
    # asyncio's logger, by the name under which its own loop looks it up: tests replace it there.
    logger: logging.Logger = vars(base_events)["logger"]
    return logger


class Errors(LoopBase):
    _exception_handler: _ExceptionHandler | None

    def __init__(self) -> None:
        super().__init__()
        self._exception_handler = None

    def get_exception_handler(self) -> _ExceptionHandler | None:
        """The handler that was set, or None while the default one is in use."""
        return self._exception_handler

    def set_exception_handler(self, handler: _ExceptionHandler | None) -> None:
        """Have `handler(loop, report)` called for exceptions that nobody awaits.

        None goes back to the default handler. Raises TypeError if it can't be called.
        """
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: _Report) -> None:
        """Log the report at ERROR to the "asyncio" logger: the message, then a line a key."""
        exception = context.get("exception")
        exc_info = (
            False if exception is None else (type(exception), exception, exception.__traceback__)
        )

        if "source_traceback" not in context:
            # In debug mode the loop knows whose callback is running, and that one knows who
            # scheduled it.
            stack = getattr(getattr(self, "_current_handle", None), "_source_traceback", None)
            if stack:
                context["handle_traceback"] = stack

        lines = [context.get("message") or "Unhandled exception in event loop"]
        for key in sorted(context):
            if key in ("message", "exception"):
                continue
            if key in _STACKS:
                shown = _STACKS[key] + "".join(traceback.format_list(context[key])).rstrip()
            else:
                shown = repr(context[key])
            lines.append(f"{key}: {shown}")
        _stock_logger().error("\n".join(lines), exc_info=exc_info)

    def call_exception_handler(self, context: _Report) -> None:
        """Report an exception that nobody can be handed.

        The report has a "message" and may have "exception", "future", "task", "handle", "protocol",
        "transport", "socket", "asyncgen", "source_traceback" and "handle_traceback". The handler
        runs in the context variables of the task, the future or the handle that failed (CPython
        3.12; here on 3.11 too). What the handler itself raises is logged, but for KeyboardInterrupt
        and SystemExit.
        """
        handler = self._exception_handler
        if handler is None:
            self._call_default_handler(context, "Exception in default exception handler")
            return
        try:
            variables = _variables_of(context)
            if variables is None:
                handler(self, context)
            else:
                variables.run(handler, self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._call_default_handler(
                {
                    "message": "Unhandled error in exception handler",
                    "exception": exc,
                    "context": context,
                },
                "Exception in default exception handler while handling an unexpected error "
                "in custom exception handler",
            )

    def _call_default_handler(self, context: _Report, if_it_fails: str) -> None:
        # A subclass may have replaced the default handler by one that fails.
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            _stock_logger().error(if_it_fails, exc_info=True)


def _variables_of(context: _Report) -> contextvars.Context | None:
    for key in ("task", "future", "handle"):
        failed = context.get(key)
        if failed is not None:
            get_context = getattr(failed, "get_context", None)
            variables = None if get_context is None else get_context()
            return variables if hasattr(variables, "run") else None
    return None
