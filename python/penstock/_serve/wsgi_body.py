"""The body of a request to a WSGI application: its wsgi.input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator


class Input:
    """wsgi.input. Of the application's thread; `more()` waits for bytes, and has none at the end.

    Raises ConnectionResetError where the client goes before its body's end.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._rest = bytearray()

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer at the end; without it, all of them."""
        rest = self._rest
        wanted = sys.maxsize if size is None or size < 0 else size
        while len(rest) < wanted:
            if not (piece := self._more()):
                break
            rest += piece
        return self._take(min(wanted, len(rest)))

    def readline(self, size: int | None = -1) -> bytes:
        """Up to the next line feed, the end, or `size` bytes."""
        rest = self._rest
        wanted = sys.maxsize if size is None or size < 0 else size
        looked_at = 0
        while (found := rest.find(b"\n", looked_at, wanted)) < 0 and len(rest) < wanted:
            looked_at = len(rest)
            if not (piece := self._more()):
                break
            rest += piece
        return self._take(min(wanted, len(rest)) if found < 0 else found + 1)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Lines until there are no more, or `hint` bytes of them."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _take(self, count: int) -> bytes:
        rest = self._rest
        taken = bytes(rest) if count == len(rest) else bytes(rest[:count])
        del rest[:count]
        return taken
