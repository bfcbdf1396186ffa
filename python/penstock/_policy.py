"""EventLoopPolicy, for programs that call asyncio.set_event_loop_policy().

It is deprecated from 3.14 on, and gone in 3.16.
"""

from __future__ import annotations

from asyncio.unix_events import _UnixDefaultEventLoopPolicy

from .loop import Loop


class EventLoopPolicy(_UnixDefaultEventLoopPolicy):
    """asyncio's default policy, except that the loops it makes are penstock's.

    Policies are deprecated from CPython 3.14 on. Prefer penstock.run(),
    asyncio.Runner(loop_factory=penstock.new_event_loop) or penstock.install().
    """

    _loop_factory = Loop
